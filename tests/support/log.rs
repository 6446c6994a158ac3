//! What the crate and the SDK log.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// An event, or the fields of a span.
#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub target: String,
    /// ` NAME=VALUE` for each field. The message of an event is a field.
    pub text: String,
}

impl Line {
    fn new(metadata: &Metadata<'_>) -> Line {
        Line {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            text: String::new(),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.text, " {field}={value:?}").unwrap();
    }
}

/// Calls a function with each line.
struct Listener<F>(F);

impl<F: Fn(Line) + 'static> Subscriber for Listener<F> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line::new(span.metadata());
        span.record(&mut line);
        (self.0)(line);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line {
            level: Level::TRACE,
            target: String::new(),
            text: String::new(),
        };
        values.record(&mut line);
        (self.0)(line);
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(event.metadata());
        event.record(&mut line);
        (self.0)(line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Calls `hear` with each line of this process.
pub fn listen(hear: impl Fn(Line) + Send + Sync + 'static) {
    tracing::subscriber::set_global_default(Listener(hear)).expect("the only listener");
}

/// The lines of a thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    /// Returns the lines of `act`.
    pub fn of(act: impl FnOnce()) -> Vec<Line> {
        let log = Log::default();
        log.record(act);
        log.lines()
    }

    /// Adds the lines of `act`.
    pub fn record(&self, act: impl FnOnce()) {
        let lines = Arc::clone(&self.0);
        let listener = Listener(move |line| lines.lock().unwrap().push(line));
        tracing::subscriber::with_default(listener, act);
    }

    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }
}
