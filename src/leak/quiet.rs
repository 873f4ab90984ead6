//! Quiet windows: what a server costs while nobody asks anything of it.
//!
//! Measured by what the kernel charges the process, and not by the clock on the wall, so that a busy machine makes a window longer
//! and not dearer. The cheapest of up to three windows counts: what a session has left on its way out is done in one of them.

use crate::error::{Error, Result};
use crate::leak::sample::Gauge;
use crate::probe::children::Child;
use crate::probe::other::Other;
use crate::process::pump::Pump;
use crate::sys;
use std::io;
use std::time::{Duration, Instant};

/// So many windows are tried.
const MOST_WINDOWS: usize = 3;
/// The share of a window that counts as nothing: no other one is tried then.
const NEXT_TO_NOTHING: u32 = 200;

/// What one window has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Of the process and of each of its tree that lived at both ends, in a window of the usual length.
    pub(crate) processor: Duration,
    /// Page faults of the children that it has reaped, and of theirs: 0 if there were none. A program costs some dozens, so it tells
    /// that one was started, and not how many.
    pub(crate) faults_of_reaped: u64,
}

impl Cost {
    /// As a sample has it.
    pub(crate) fn gauges(&self) -> [(Gauge, u64); 2] {
        let micros = u64::try_from(self.processor.as_micros()).unwrap_or(u64::MAX);
        [(Gauge::Processor, micros), (Gauge::Forks, self.faults_of_reaped)]
    }

    pub(crate) fn cheapest(self, other: Self) -> Self {
        Self {
            processor: self.processor.min(other.processor),
            faults_of_reaped: self.faults_of_reaped.min(other.faults_of_reaped),
        }
    }

    pub(crate) fn dearest(self, other: Self) -> Self {
        Self {
            processor: self.processor.max(other.processor),
            faults_of_reaped: self.faults_of_reaped.max(other.faults_of_reaped),
        }
    }

    fn is_next_to_nothing(self, window: Duration) -> bool {
        self.faults_of_reaped == 0 && self.processor <= window / NEXT_TO_NOTHING
    }
}

/// The cheapest of some windows of this length.
///
/// # Errors
///
/// If the process cannot be read, or nothing can wait.
pub(crate) async fn cheapest_window(other: &Other, window: Duration) -> Result<Cost> {
    cheapest_of(window, async || one_window(other, window).await).await
}

async fn cheapest_of(window: Duration, mut measure: impl AsyncFnMut() -> Result<Cost>) -> Result<Cost> {
    let mut cheapest: Option<Cost> = None;
    for _ in 0..MOST_WINDOWS {
        let cost = measure().await?;
        let least = cheapest.map_or(cost, |cheapest| cheapest.cheapest(cost));
        cheapest = Some(least);
        if least.is_next_to_nothing(window) {
            break;
        }
    }
    cheapest.ok_or_else(|| Error::invalid("no window was looked at"))
}

/// What one window of this length costs.
///
/// # Errors
///
/// If the process cannot be read, or nothing can wait.
pub(crate) async fn one_window(other: &Other, window: Duration) -> Result<Cost> {
    let failed = |cause| Error::os("read the times of a process", "it needs Linux with /proc", cause);
    let before = Reading::take(other).map_err(failed)?;
    let start = Instant::now();
    Pump::get()?.sleep(window).await;
    let after = Reading::take(other).map_err(failed)?;
    Ok(after.cost_since(&before, start.elapsed(), window))
}

/// On a busy machine nobody wakes in time, and a longer window costs more.
fn in_usual_length(charged: Duration, length: Duration, window: Duration) -> Duration {
    charged.mul_f64(window.as_secs_f64() / length.max(window).as_secs_f64())
}

/// What was charged until one moment.
struct Reading {
    own: u64,
    faults_of_reaped: u64,
    tree: Vec<(Child, u64)>,
}

impl Reading {
    fn take(other: &Other) -> io::Result<Self> {
        let tree = other.tree()?;
        let alive = tree.iter().filter(|child| !child.is_zombie);
        // One that has ended meanwhile has no clock.
        let tree = alive.filter_map(|child| Some((child.clone(), sys::processor_time_of(child.pid).ok()?))).collect();
        let faults_of_reaped = other.times()?.faults_of_reaped;
        Ok(Self { own: other.directory().processor_time()?, faults_of_reaped, tree })
    }

    /// After so long, of a window that should have been so long.
    fn cost_since(&self, before: &Self, length: Duration, window: Duration) -> Cost {
        let processor = in_usual_length(self.processor_since(before), length, window);
        Cost { processor, faults_of_reaped: self.faults_of_reaped.saturating_sub(before.faults_of_reaped) }
    }

    fn processor_since(&self, before: &Self) -> Duration {
        let of_tree = self.tree.iter().filter_map(|(child, now)| {
            let (_, then) = before.tree.iter().find(|(known, _)| known == child)?;
            Some(now.saturating_sub(*then))
        });
        Duration::from_nanos(self.own.saturating_sub(before.own) + of_tree.sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;

    fn child(pid: u32, started: u64) -> Child {
        Child { pid, started, is_zombie: false }
    }

    #[test]
    fn a_window_is_charged_for_the_process_and_for_those_of_its_tree_that_live_at_both_ends() {
        let tree = vec![(child(2, 1), 100), (child(3, 1), 7)];
        let before = Reading { own: 1_000, faults_of_reaped: 0, tree };
        // The second has a new owner of its number, the third began in the window.
        let tree = vec![(child(2, 1), 150), (child(3, 9), 900), (child(4, 9), 900)];
        let after = Reading { own: 1_003, faults_of_reaped: 0, tree };
        assert_eq!(after.processor_since(&before), Duration::from_nanos(53));
    }

    #[test]
    fn a_window_that_took_longer_costs_what_one_of_the_usual_length_would() {
        let at = Duration::from_millis;
        assert_eq!(in_usual_length(at(30), at(300), at(100)), at(10));
        assert_eq!(in_usual_length(at(30), at(99), at(100)), at(30));
        let reading = |own, faults_of_reaped| Reading { own, faults_of_reaped, tree: Vec::new() };
        let cost = reading(30_000_000, 9).cost_since(&reading(0, 4), at(300), at(100));
        // A program that was started was started once, however long that window was.
        assert_eq!(cost, Cost { processor: at(10), faults_of_reaped: 5 });
    }

    #[test]
    fn no_other_window_is_tried_where_neither_time_nor_a_program_was_spent() {
        let cost = |micros, faults_of_reaped| Cost { processor: Duration::from_micros(micros), faults_of_reaped };
        let is_over = |cost: Cost| cost.is_next_to_nothing(Duration::from_millis(100));
        assert!(is_over(cost(0, 0)) && is_over(cost(500, 0)));
        assert!(!is_over(cost(501, 0)) && !is_over(cost(0, 1)));
    }

    /// What is on its way out is over in one of them.
    #[test]
    fn of_three_windows_the_cheapest_counts_and_none_is_looked_at_after_one_that_costs_nothing() {
        let cost = |micros, faults_of_reaped| Cost { processor: Duration::from_micros(micros), faults_of_reaped };
        let cheapest = |costs: &[Cost]| {
            let mut left = costs.iter().copied();
            let measured = park_on(cheapest_of(Duration::from_millis(100), async || Ok(left.next().unwrap())));
            (measured.unwrap(), costs.len() - left.len())
        };
        assert_eq!(cheapest(&[cost(900, 7), cost(800, 9), cost(700, 8), cost(0, 0)]), (cost(700, 7), 3));
        assert_eq!(cheapest(&[cost(900, 7), cost(400, 0), cost(0, 0)]), (cost(400, 0), 2));
    }

    #[test]
    fn the_cheapest_of_two_is_that_of_each_kind() {
        let cost = |nanos, faults_of_reaped| Cost { processor: Duration::from_nanos(nanos), faults_of_reaped };
        assert_eq!(cost(5, 90).cheapest(cost(9, 0)), cost(5, 0));
        assert_eq!(cost(9, 0).cheapest(cost(5, 90)), cost(5, 0));
        assert_eq!(cost(9, 0).dearest(cost(5, 90)), cost(9, 90));
    }
}
