//! `Login::new`, `for_dsql` and `with_region` on any text: what they accept is normal, and stays as it is when given again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rds_iam::Login;

fuzz_target!(|input: (&str, u16, &str, &str)| {
    let (host, port, user, region) = input;
    let Ok(login) = Login::new(host, port, user) else {
        return;
    };
    assert_ne!(login.port(), 0);
    assert_eq!(login.user(), user);
    assert!(!login.host().ends_with('.') && !login.host().contains(|c: char| c.is_ascii_uppercase()));
    assert_eq!(Login::new(login.host(), port, user).as_ref().ok(), Some(&login));
    if let Ok(dsql) = Login::for_dsql(host, port, user) {
        assert_eq!((dsql.host(), dsql.region()), (login.host(), login.region()));
        assert_eq!(dsql == login, login.service() == dsql.service());
    }
    if let Some(in_host) = login.region() {
        assert!(login.host().split('.').any(|label| label == in_host));
        assert_eq!(login.clone().with_region(in_host).as_ref().ok(), Some(&login));
    }
    if let Ok(login) = login.with_region(region) {
        assert_eq!(login.region(), Some(region));
    }
});
