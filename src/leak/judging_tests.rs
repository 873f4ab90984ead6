//! Tests of `judging.rs`, which they would make too long.

use super::*;

fn judging(rounds: RangeInclusive<usize>) -> Judging {
    let window = Duration::from_millis(100);
    Judging { rounds, gate: 1024, judges_memory: true, window, before: Vec::new(), long: None, is_own: true }
}

fn samples(count: u64, sample: impl Fn(u64) -> Sample) -> Rounds {
    let mut rounds = Rounds::with_capacity(count as usize + 1);
    (0..=count).for_each(|round| rounds.push(sample(round)));
    rounds
}

#[test]
fn memory_is_looked_at_after_certain_rounds_only() {
    let growing = |count| samples(count, |round| Sample::of_memory(Some(round << 20), round << 20));
    let is_decided = |count: usize| judging(7..=60).is_decided(&growing(count as u64), count);
    // What looks like a leak after 18 rounds is looked at again, where there may be as many.
    assert!(is_decided(30) && !is_decided(18));
    assert!(!is_decided(29) && !is_decided(31));
    let no_more = |count: usize| judging(7..=20).is_decided(&growing(count as u64), count);
    assert!(no_more(18) && !no_more(17) && !no_more(19));
}

#[test]
fn the_more_looks_there_may_be_the_less_may_each_err() {
    assert_eq!(judging(7..=18).p(), P_SINGLE);
    assert_eq!(judging(7..=30).p(), P_PER_LOOK);
}

/// Else what a server's pools take in the first rounds would be a leak.
#[test]
fn a_server_is_judged_after_certain_rounds_only_but_where_nothing_has_grown() {
    let server = Judging { is_own: false, judges_memory: false, ..judging(7..=60) };
    let with = |count, threads: fn(u64) -> u64| {
        let sample = |round| Sample::of_memory(None, 1 << 20).with(&[(Gauge::Threads, threads(round))]);
        server.is_decided(&samples(count, sample).of_other(), count as usize)
    };
    assert!(!with(7, |round| round) && with(18, |round| round));
    assert!(with(7, |_| 3));
}

#[test]
fn activity_is_judged_against_what_was_before_the_first_round() {
    let cost = |processor| Cost { processor: Duration::from_millis(processor), faults_of_reaped: 0 };
    let busy = samples(18, |_| Sample::of_memory(None, 0).with(&cost(90).gauges())).of_other();
    for (before, verdict) in [(0, Verdict::Leaked), (80, Verdict::Clean)] {
        let server = Judging { is_own: false, before: vec![cost(before); 3], ..judging(7..=60) };
        let series = server.series(&busy);
        let processor = series.iter().find(|series| series.gauge == Gauge::Processor).unwrap();
        assert_eq!(processor.verdict, verdict);
        assert!(server.is_decided(&busy, 18), "{before}");
    }
}

#[test]
fn counts_alone_are_judged_after_the_fewest_rounds_and_a_leak_of_one_ends_any_hunt_of_our_own() {
    let with = |judging: &Judging, count, threads: fn(u64) -> u64| {
        let sample = |round| Sample::of_memory(Some(0), 0).with(&[(Gauge::Threads, threads(round))]);
        judging.is_decided(&samples(count, sample), count as usize)
    };
    let counts_only = Judging { judges_memory: false, ..judging(7..=60) };
    assert!(!with(&counts_only, 6, |_| 3) && with(&counts_only, 7, |_| 3));
    assert!(!with(&judging(7..=60), 7, |_| 3) && with(&judging(7..=60), 7, |round| round));
}

#[test]
fn a_server_is_looked_at_again_where_its_counts_or_its_memory_do_not_tell() {
    let server = |judges_memory| Judging { is_own: false, judges_memory, ..judging(7..=60) };
    let with = |judging: &Judging, count, threads: fn(u64) -> u64, resident: fn(u64) -> u64| {
        let sample = |round| Sample::of_memory(None, resident(round)).with(&[(Gauge::Threads, threads(round))]);
        judging.is_decided(&samples(count, sample).of_other(), count as usize)
    };
    // Memory is judged, and not yet.
    assert!(!with(&server(true), 9, |_| 3, |_| 1 << 20));
    // It rises in the end, and has not done so all the while.
    assert!(!with(&server(false), 30, |round| 7 + round.saturating_sub(10) / 2, |_| 1 << 20));
    // What looks like a leak of memory after 18 rounds is looked at again, but beside a leak of a count.
    assert!(!with(&server(true), 18, |_| 3, |round| round << 20));
    assert!(with(&server(true), 18, |round| round, |round| round << 20));
    // One step in the middle is neither a leak nor none.
    let step: fn(u64) -> u64 = |round| if round < 14 { 1 << 20 } else { 9 << 20 };
    assert!(!with(&server(true), 18, |_| 3, step));
}

#[test]
fn what_still_costs_something_is_looked_at_like_a_leak_of_a_count() {
    let cost = |processor| Cost { processor: Duration::from_millis(processor), faults_of_reaped: 0 };
    let server = Judging { is_own: false, judges_memory: false, before: vec![cost(0); 3], ..judging(7..=60) };
    let busy = |count, resident: fn(u64) -> u64| {
        samples(count, |round| Sample::of_memory(None, resident(round)).with(&cost(90).gauges())).of_other()
    };
    assert!(!server.is_decided(&busy(9, |_| 0), 9));
    let server = Judging { judges_memory: true, ..server };
    assert!(server.is_decided(&busy(18, |round| round << 20), 18));
}

/// What `processor` and `faults` the windows before and after each round cost, and what that is judged to be.
fn activity(before: (u64, u64), cost: impl Fn(u64) -> (u64, u64)) -> [(Verdict, Option<Confidence>); 2] {
    let cost_of = |(micros, faults_of_reaped)| Cost { processor: Duration::from_micros(micros), faults_of_reaped };
    let server = Judging { is_own: false, before: vec![cost_of(before); 3], ..judging(7..=18) };
    let series =
        server.series(&samples(18, |round| Sample::of_memory(None, 0).with(&cost_of(cost(round)).gauges())).of_other());
    [Gauge::Processor, Gauge::Forks].map(|gauge| {
        let one = series.iter().find(|series| series.gauge == gauge).unwrap();
        (one.verdict, one.confidence)
    })
}

#[test]
fn a_step_in_what_a_window_costs_is_a_twentieth_of_it_and_one_of_programs_is_any() {
    let quiet = (Verdict::Clean, None);
    let step = |more| (Verdict::Leaked, Some(Confidence::More(more)));
    assert_eq!(activity((0, 0), |_| (4_900, 0)), [quiet, quiet]);
    assert_eq!(activity((0, 0), |_| (5_100, 30)), [step(5_100.0), step(30.0)]);
}

#[test]
fn a_trend_is_found_below_any_step() {
    let is_trend = |(verdict, confidence): (Verdict, Option<Confidence>)| {
        verdict == Verdict::Leaked && matches!(confidence, Some(Confidence::ByChance(_)))
    };
    let rising = activity((20_000, 1_000), |round| (20_000 + 110 * round, 1_000 + 22 * round));
    assert!(rising.iter().all(|one| is_trend(*one)), "{rising:?}");
    let slower = activity((20_000, 1_000), |round| (20_000 + 90 * round, 1_000 + 18 * round));
    assert_eq!(slower, [(Verdict::Clean, None); 2]);
}

#[test]
fn nothing_is_said_of_windows_that_were_not_looked_at() {
    let series = judging(7..=18).series(&samples(18, |_| Sample::of_memory(None, 0)));
    assert!(!series.iter().any(|series| series.gauge == Gauge::Processor || series.gauge == Gauge::Forks));
}

#[test]
fn memory_that_is_not_judged_is_suspicious_at_most_and_asks_for_no_rounds() {
    let counts_only = Judging { judges_memory: false, ..judging(7..=60) };
    let memory = |samples: &Rounds| {
        let series = counts_only.series(samples);
        series.into_iter().find(|series| series.gauge == Gauge::Heap).unwrap()
    };
    let growing = memory(&samples(30, |round| Sample::of_memory(Some(round << 20), 0)));
    assert_eq!(growing.verdict, Verdict::Suspicious);
    let few = memory(&samples(30, |round| Sample::of_memory(Some(if round < 25 { 0 } else { 1 << 20 }), 0)));
    assert_eq!((few.verdict, few.rounds_needed), (Verdict::Clean, None));
    let judged =
        judging(7..=60).series(&samples(30, |round| Sample::of_memory(Some(if round < 25 { 0 } else { 1 << 20 }), 0)));
    assert!(judged.iter().any(|series| series.rounds_needed.is_some()));
    let flat = memory(&samples(30, |_| Sample::of_memory(Some(5 << 20), 5 << 20)));
    assert_eq!((flat.verdict, flat.confidence), (Verdict::Clean, None));
}

#[test]
fn only_a_leak_of_a_count_says_how_sure_it_is() {
    let twice = samples(7, |round| {
        Sample::of_memory(None, 0).with(&[(Gauge::Threads, 3 + u64::from(round > 2) + u64::from(round > 4))])
    });
    let threads = count(&twice, Gauge::Threads);
    assert_eq!((threads.verdict, threads.confidence), (Verdict::Suspicious, None));
}

#[test]
fn what_has_gone_by_itself_is_no_leak() {
    let rising = samples(7, |round| Sample::of_memory(None, 0).with(&[(Gauge::Descriptors, 9 + round)]));
    let leaked = count(&rising, Gauge::Descriptors);
    assert_eq!(leaked.verdict, Verdict::Leaked);
    let later = |value| Sample::of_memory(None, 0).with(&[(Gauge::Descriptors, value)]);
    assert!(outlives(&leaked, &later(16)) && outlives(&leaked, &later(13)) && !outlives(&leaked, &later(10)));
    // Of what was not measured again nothing is known.
    let rising = samples(7, |round| Sample::of_memory(None, 0).with(&[(Gauge::Records, round)]));
    assert!(outlives(&count(&rising, Gauge::Records), &Sample::of_memory(None, 0)));
}

/// A timer that beats twice in a second, whose beats the short windows mostly miss.
#[test]
fn what_only_long_windows_show_is_a_leak_that_says_so() {
    let cost = |faults_of_reaped| Cost { processor: Duration::ZERO, faults_of_reaped };
    let quiet = samples(18, |_| Sample::of_memory(None, 0).with(&cost(0).gauges())).of_other();
    let window = Duration::from_secs(1);
    let look = |before, after| LongLook { window, before: cost(before), after: Some(cost(after)) };
    for (long, verdict) in [(look(0, 90), Verdict::Leaked), (look(90, 90), Verdict::Clean)] {
        let server = Judging { is_own: false, before: vec![cost(0); 3], long: Some(long), ..judging(7..=60) };
        assert!(server.wants_long_look(&quiet));
        assert_eq!(works(&long), verdict == Verdict::Leaked);
        let series = server.series(&quiet);
        let forks = series.iter().find(|series| series.gauge == Gauge::Forks).unwrap();
        assert_eq!(forks.verdict, verdict);
        let more = (verdict == Verdict::Leaked).then_some(Confidence::MoreInLong { more: 90.0, window });
        assert_eq!(forks.confidence, more);
    }
    let few = samples(6, |_| Sample::of_memory(None, 0).with(&cost(0).gauges())).of_other();
    let server = Judging { is_own: false, before: vec![cost(0); 3], ..judging(1..=6) };
    assert!(!server.wants_long_look(&few), "six rounds are no proof");
}
