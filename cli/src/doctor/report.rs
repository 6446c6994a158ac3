//! What the doctor found, as lines or as JSON.

use std::error::Error;
use std::fmt;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

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
    /// Whether no other problem can explain why the login fails.
    is_certain: bool,
}

impl Finding {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            problem: problem.into(),
            remedy: remedy.into(),
            is_certain: false,
        }
    }

    pub fn certain(self) -> Finding {
        Finding {
            is_certain: true,
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

    /// A server's text may have control characters, on which a terminal would act.
    pub fn printable(mut self) -> Check {
        match &mut self.outcome {
            Outcome::Ok(text) | Outcome::NotChecked(text) => replace_control_characters(text),
            Outcome::Wrong(Finding {
                problem, remedy, ..
            }) => {
                replace_control_characters(problem);
                replace_control_characters(remedy);
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
        // If several findings are certain, the last is nearest to the cause.
        let certain = wrong().rfind(|(_, finding)| finding.is_certain);
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

fn replace_control_characters(text: &mut String) {
    *text = text.replace(char::is_control, "\u{fffd}");
}

fn capitalized(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
