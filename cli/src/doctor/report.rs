//! What the doctor found, as lines or as JSON.

use std::error::Error;
use std::fmt;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::secrets::Secrets;

/// The check whose failure is a symptom. The other checks look for its cause.
pub const LOGIN: &str = "login";

/// A check, and its outcome.
#[derive(Debug)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    Ok(String),
    Wrong(Finding),
    /// With the reason.
    NotChecked(String),
}

/// A problem and its remedy, as two parts of a sentence: `the clock is 20 minutes behind`, `run NTP`.
#[derive(Debug)]
pub struct Finding {
    pub problem: String,
    pub remedy: String,
    weight: Weight,
}

/// How well a finding explains why the login fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Possible,
    /// The login cannot work.
    Certain,
    /// The database itself says so.
    Answered,
}

impl Finding {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            problem: problem.into(),
            remedy: remedy.into(),
            weight: Weight::Possible,
        }
    }

    pub fn certain(self) -> Finding {
        Finding {
            weight: Weight::Certain,
            ..self
        }
    }

    pub fn answered(self) -> Finding {
        Finding {
            weight: Weight::Answered,
            ..self
        }
    }

    /// Reads an error of this workspace, which says in two sentences what is wrong and what to do.
    pub fn of_error(error: &(dyn Error + 'static)) -> Finding {
        let text = error.to_string();
        let (problem, remedy) = text.split_once(". ").unwrap_or((&text, "correct it"));
        let problem = match error.source() {
            Some(cause) => format!("{problem} ({})", super::one_line(cause)),
            None => problem.to_owned(),
        };
        let mut remedy = remedy.to_owned();
        if let Some(first) = remedy.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        Finding::new(problem, remedy)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, so {}", self.problem, self.remedy)
    }
}

impl Check {
    pub fn ok(name: &'static str, text: impl Into<String>) -> Check {
        Check {
            name,
            outcome: Outcome::Ok(text.into()),
        }
    }

    pub fn wrong(name: &'static str, finding: Finding) -> Check {
        Check {
            name,
            outcome: Outcome::Wrong(finding),
        }
    }

    pub fn not_checked(name: &'static str, reason: impl Into<String>) -> Check {
        Check {
            name,
            outcome: Outcome::NotChecked(reason.into()),
        }
    }

    /// Hides secrets, and what a terminal would act on.
    pub fn printable(mut self, secrets: &Secrets) -> Check {
        match &mut self.outcome {
            Outcome::Ok(text) | Outcome::NotChecked(text) => *text = secrets.hide(text),
            Outcome::Wrong(finding) => {
                finding.problem = secrets.hide(&finding.problem);
                finding.remedy = secrets.hide(&finding.remedy);
            }
        }
        self
    }

    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }

    fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Ok(_) => "ok",
            Outcome::Wrong(_) => "wrong",
            Outcome::NotChecked(_) => "not checked",
        }
    }

    fn to_json(&self) -> Value {
        let (text, remedy) = match &self.outcome {
            Outcome::Ok(text) | Outcome::NotChecked(text) => (text, None),
            Outcome::Wrong(finding) => (&finding.problem, Some(&finding.remedy)),
        };
        json!({ "check": self.name, "outcome": self.word(), "text": text, "remedy": remedy })
    }
}

/// A line. A terminal shows the outcome in colour.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colour = match self.outcome {
            Outcome::Ok(_) => AnsiColor::Green,
            Outcome::Wrong(_) => AnsiColor::Red,
            Outcome::NotChecked(_) => AnsiColor::Yellow,
        };
        let style: Style = colour.on_default();
        write!(
            f,
            "{style}{:<11}{style:#}  {:<11}  ",
            self.word(),
            self.name
        )?;
        match &self.outcome {
            Outcome::Ok(text) | Outcome::NotChecked(text) => f.write_str(text),
            Outcome::Wrong(finding) => write!(f, "{finding}"),
        }
    }
}

/// All checks so far.
#[derive(Debug, Default)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    pub fn login_works(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.name == LOGIN && check.is_ok())
    }

    /// The cause, and what to do.
    pub fn conclusion(&self) -> String {
        if self.login_works() {
            return "The login works.".to_owned();
        }
        let wrong = || {
            let checks = self.checks.iter();
            checks.filter_map(|check| match &check.outcome {
                Outcome::Wrong(finding) => Some((check.name, finding)),
                _ => None,
            })
        };
        let certain = wrong().filter(|(_, finding)| finding.weight > Weight::Possible);
        // Of several with the same weight, the last is nearest to the cause.
        let certain = certain.max_by_key(|(_, finding)| finding.weight);
        let cause = certain.or_else(|| wrong().find(|(name, _)| *name != LOGIN));
        match cause.or_else(|| wrong().next()) {
            Some((_, finding)) => format!("{}.", capitalized(&finding.to_string())),
            None => {
                "No check is wrong, and some checks were not made. Their lines have the reasons."
                    .to_owned()
            }
        }
    }

    pub fn to_json(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(Check::to_json).collect();
        json!({
            "login_works": self.login_works(),
            "conclusion": self.conclusion(),
            "checks": checks,
        })
    }
}

fn capitalized(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
