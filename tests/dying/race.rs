//! A race of two suites on one server: for how many rounds, how one of them is killed, and what the times come to.

use super::processes::Pinned;
use super::{Random, Runner, race_time};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// As many rounds as `TERMLEASH_RACE_ROUNDS` says, else at least one and as many as the time allows.
pub(crate) struct Rounds {
    wanted: Option<usize>,
    start: Instant,
}

impl Rounds {
    pub(crate) fn begin() -> Self {
        let wanted = std::env::var("TERMLEASH_RACE_ROUNDS").ok().map(|text| text.parse().expect("a whole number"));
        Self { wanted, start: Instant::now() }
    }

    pub(crate) fn go_on(&self, done: usize) -> bool {
        match self.wanted {
            Some(wanted) => done < wanted,
            None => done == 0 || self.start.elapsed() < race_time(),
        }
    }
}

/// Kills a suite at any instant from before its first session to behind its last: its runner, its body, or both. Answers with its
/// keeper and when that was.
pub(crate) fn kill_at_any_instant(
    killed: &mut Runner,
    random: &mut Random,
    until_it_has_its_sessions: impl FnOnce(),
) -> (Pinned, Instant) {
    let (keeper, body) = killed.keeper_and_body().expect("it runs");
    if random.below(3) > 0 {
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
    } else {
        until_it_has_its_sessions();
    }
    let who = random.below(3);
    let at = Instant::now();
    if who != 1 {
        killed.hold().signal(Signal::KILL);
    }
    if who != 0 {
        body.signal(Signal::KILL);
    }
    (keeper, at)
}

/// How long so many percent took at most, of times in ascending order.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// One line for all rounds.
pub(crate) fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (rounds, at) = (times.len(), |percent| percentile(&times, percent));
    format!("{rounds} rounds; from the kill until all is clean: p50 {:.0?}  p99 {:.0?}", at(50), at(99))
}
