//! The harness: two ways of doing the same thing take turns in one process, and their medians are compared.
//!
//! Taking turns makes a noisy machine disturb both alike, so the ratio is worth more than the times are.
//!
//! Measures under `cargo bench`, which passes `--bench`. Everything else (`cargo test --benches`, `--test`) runs each
//! operation once, at a small size, to see that it works. Other arguments choose the lines whose name contains one.

use std::fmt;
use std::time::Duration;

pub(crate) struct Harness {
    measures: bool,
    only: Vec<String>,
}

impl Harness {
    /// None if there is nothing to do: a test runner asks for a list of tests, and a bench has none.
    pub(crate) fn from_args() -> Option<Self> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        if has("--list") {
            return None;
        }
        let measures = has("--bench") && !has("--test");
        let only = args.iter().filter(|arg| !arg.starts_with('-')).cloned().collect();
        Some(Self { measures, only })
    }

    /// The size of an operation: `full`, or `small` where only its working is to be seen.
    pub(crate) fn size<T>(&self, full: T, small: T) -> T {
        if self.measures { full } else { small }
    }

    /// False if the command line asks for other lines.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Lets both take turns, after one turn each that does not count: what starts lazily has started then.
    ///
    /// Each returns the time of the part that counts, so that preparing and clearing up do not.
    pub(crate) fn turns(
        &self,
        rounds: usize,
        mut ours: impl FnMut() -> Duration,
        mut floor: impl FnMut() -> Duration,
    ) -> Medians {
        let rounds = if self.measures { rounds } else { 1 };
        if self.measures {
            ours();
            floor();
        }
        let (mut of_ours, mut of_floor) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
        for round in 0..rounds {
            // Who goes first finds the caches as the other left them, so they swap.
            if round % 2 == 0 {
                of_ours.push(ours());
                of_floor.push(floor());
            } else {
                of_floor.push(floor());
                of_ours.push(ours());
            }
        }
        Medians { ours: median(of_ours), floor: median(of_floor) }
    }

    /// One line: the ratio of both medians against its goal.
    pub(crate) fn report(&self, name: &str, medians: Medians, goal: f64) {
        self.line(name, span(medians.ours), span(medians.floor), medians.ratio(), goal);
    }

    /// One line of other values than two times.
    pub(crate) fn line(&self, name: &str, ours: impl fmt::Display, floor: impl fmt::Display, ratio: f64, goal: f64) {
        // A single turn says that it works, not how fast.
        let verdict = match ratio > goal {
            true if self.measures => " MISSED",
            _ => "",
        };
        println!("bench {name:<34} ours={ours:<8} floor={floor:<8} ratio={ratio:.2} goal<={goal}{verdict}");
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Medians {
    pub(crate) ours: Duration,
    pub(crate) floor: Duration,
}

impl Medians {
    pub(crate) fn ratio(self) -> f64 {
        self.ours.as_secs_f64() / self.floor.as_secs_f64()
    }
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// `243µs`, `1.27ms`, `12.4s`: three digits are more than the noise leaves.
pub(crate) fn span(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let digits = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{unit}")
}
