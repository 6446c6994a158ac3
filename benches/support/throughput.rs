//! Criterion's figures on one thread, and on all of the machine's at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

/// A name and what is measured under it, the drop of its result included.
pub type Case<'a> = (&'a str, &'a (dyn Fn() + Sync));

pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// The cases that are compared to each other are measured right after each other: other programs use the machine too.
pub fn measure(criterion: &mut Criterion, group: &str, cases: &[Case<'_>]) {
    let mut one = criterion.benchmark_group(group);
    one.throughput(Throughput::Elements(1));
    for (name, work) in cases {
        one.bench_function(*name, |bencher| bencher.iter(work));
    }
    one.finish();

    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut all = criterion.benchmark_group(format!("{group}, {threads} threads"));
    all.throughput(Throughput::Elements(threads as u64));
    for (name, work) in cases {
        all.bench_function(*name, |bencher| {
            bencher.iter_custom(|count| time_on_threads(threads, count, work))
        });
    }
    all.finish();
}

/// How long it takes until each thread has done the work `count` times.
#[expect(clippy::disallowed_methods, reason = "a bench is to read the clock")]
fn time_on_threads(threads: usize, count: u64, work: &(dyn Fn() + Sync)) -> Duration {
    let all_are_here = Barrier::new(threads);
    let work_and_time_it = || {
        all_are_here.wait();
        // Read in the thread itself, since another may be put to sleep before it has read the clock.
        let start = Instant::now();
        (0..count).for_each(|_| work());
        (start, Instant::now())
    };
    let times: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(work_and_time_it))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect()
    });
    let first_start = times.iter().map(|(start, _)| *start).min();
    let last_end = times.iter().map(|(_, end)| *end).max();
    first_start
        .zip(last_end)
        .map_or(Duration::ZERO, |(start, end)| end - start)
}
