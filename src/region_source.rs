//! Where the region comes from, if a login names none.

use std::fmt;
#[cfg(feature = "aws-config")]
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{Error, Login};

/// Knows the region of each login.
pub(crate) trait RegionSource: fmt::Debug + Send + Sync {
    /// Returns the login's own region, or the region for logins without a region.
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>>;
}

/// The builder's region.
#[derive(Debug)]
pub(crate) struct GivenRegion(pub(crate) Option<String>);

impl RegionSource for GivenRegion {
    fn region_of<'a>(&'a self, login: &'a Login) -> BoxFuture<'a, Result<Option<String>, Error>> {
        let region = login.region().or(self.0.as_deref()).map(str::to_owned);
        std::future::ready(Ok(region)).boxed()
    }
}

#[cfg(feature = "aws-config")]
pub(crate) use default_region::{DefaultRegion, configured_region, names_a_region};

#[cfg(feature = "aws-config")]
mod default_region {
    use std::env;

    use aws_config::Region;
    use aws_config::imds::region::ImdsRegionProvider;
    use aws_config::meta::region::ProvideRegion;
    use aws_config::profile::ProfileFileRegionProvider;

    use super::*;
    use crate::fetch::{FetchExecutor, InFlight};
    use crate::region;

    /// The region of the environment, the profile or the instance.
    #[derive(Debug)]
    pub(crate) struct DefaultRegion {
        /// The first region that a login named.
        first_of_a_login: OnceLock<Region>,
        /// The default region, once found. A search that finds none is repeated.
        found: Arc<OnceLock<Region>>,
        search: Mutex<Option<InFlight>>,
        executor: FetchExecutor,
    }

    impl DefaultRegion {
        pub(crate) fn new(executor: FetchExecutor) -> DefaultRegion {
            DefaultRegion {
                first_of_a_login: OnceLock::new(),
                found: Arc::default(),
                search: Mutex::default(),
                executor,
            }
        }

        /// The region to ask STS in, if the configuration names none.
        pub(crate) fn for_sts(&self) -> Option<Region> {
            self.first_of_a_login.get().or(self.found.get()).cloned()
        }

        /// Joins the search in flight, or starts a search. One search serves all callers.
        fn join_or_start_search(&self) -> InFlight {
            let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(search) = search.as_ref().filter(|search| !search.has_ended()) {
                return search.clone();
            }
            let (outcome, in_flight) = InFlight::new();
            let found = Arc::clone(&self.found);
            self.executor.run(find_region(), move |region| {
                let outcome_of_search = region.map(|region| {
                    if let Some(region) = region {
                        found.get_or_init(|| region);
                    }
                });
                outcome.send_replace(Some(outcome_of_search));
            });
            search.insert(in_flight).clone()
        }
    }

    impl RegionSource for DefaultRegion {
        fn region_of<'a>(
            &'a self,
            login: &'a Login,
        ) -> BoxFuture<'a, Result<Option<String>, Error>> {
            async {
                if let Some(region) = login.region() {
                    self.first_of_a_login
                        .get_or_init(|| Region::new(region.to_owned()));
                    return Ok(Some(region.to_owned()));
                }
                if self.found.get().is_none() {
                    self.join_or_start_search().outcome().await?;
                }
                Ok(self.found.get().map(Region::to_string))
            }
            .boxed()
        }
    }

    /// Whether the setting is not empty. The SDK accepts an empty region, and containers often set one.
    pub(crate) fn names_a_region(region: &Region) -> bool {
        !region.as_ref().is_empty()
    }

    /// Returns the region of the environment, or of the profile.
    pub(crate) async fn configured_region() -> Option<Region> {
        let in_environment = ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .iter()
            .filter_map(|variable| env::var(variable).ok())
            .map(Region::new)
            .find(names_a_region);
        match in_environment {
            Some(region) => Some(region),
            None => {
                let in_profile = ProfileFileRegionProvider::new().region().await;
                in_profile.filter(names_a_region)
            }
        }
    }

    /// Returns the configured region, or the region of the instance.
    async fn find_region() -> Result<Option<Region>, Error> {
        let region = match configured_region().await {
            Some(region) => Some(region),
            None => ImdsRegionProvider::builder().build().region().await,
        };
        if let Some(region) = &region {
            region::validate(region.as_ref())?;
        }
        Ok(region)
    }
}
