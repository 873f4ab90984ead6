//! One round: a run is started, some of its three processes are killed at some instant, and everything has to go.

use crate::dying::bystanders::Bystanders;
use crate::dying::processes::{Pinned, body_of, end_carriers, keeper_of, until_none};
use crate::dying::{CLEAN_WITHIN, Place, Random, Runner};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) const BODY: u8 = 1;
pub(crate) const KEEPER: u8 = 2;
pub(crate) const RUNNER: u8 = 4;
/// The kill comes at most so long after its victims are there.
const LATEST: Duration = Duration::from_millis(60);
/// The time in which they start.
const EARLY: Duration = Duration::from_millis(8);

pub(crate) fn name_of(killed: u8) -> &'static str {
    match killed {
        BODY => "body",
        KEEPER => "keeper",
        RUNNER => "runner",
        3 => "body and keeper",
        5 => "body and runner",
        6 => "keeper and runner",
        _ => "all three",
    }
}

/// What was killed, as far as it was there.
struct Victims {
    runner: Pinned,
    keeper: Option<Pinned>,
    body: Option<Pinned>,
}

impl Victims {
    /// Waits for those that are to be killed, and mostly for the others, too.
    fn find(place: &Place, runner: &mut Runner, killed: u8, is_early: bool) -> Self {
        let mut victims = Self { runner: runner.hold(), keeper: None, body: None };
        let wanted = if is_early { killed } else { BODY | KEEPER };
        loop {
            victims.keeper = victims.keeper.or_else(|| keeper_of(runner.pid()));
            victims.body = victims.body.or_else(|| body_of(victims.keeper.as_ref()?.pid));
            let has_keeper = wanted & (KEEPER | BODY) == 0 || victims.keeper.is_some();
            if has_keeper && (wanted & BODY == 0 || victims.body.is_some()) {
                return victims;
            }
            assert!(!victims.runner.has_ended(), "it ended by itself:\n{}", place.said("victim"));
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn look_again(&mut self) {
        self.keeper = self.keeper.take().or_else(|| keeper_of(self.runner.pid));
        self.body = self.body.take().or_else(|| body_of(self.keeper.as_ref()?.pid));
    }

    fn kill(&self, killed: u8, random: &mut Random) -> Instant {
        let mut of_them =
            vec![(BODY, self.body.as_ref()), (KEEPER, self.keeper.as_ref()), (RUNNER, Some(&self.runner))];
        let start = Instant::now();
        while !of_them.is_empty() {
            let (which, process) = of_them.swap_remove(random.below(of_them.len() as u64) as usize);
            if killed & which != 0
                && let Some(process) = process
            {
                process.signal(Signal::KILL);
            }
        }
        start
    }

    /// Whether a control group holds what the body starts.
    fn are_in_a_group(&self) -> bool {
        let group = self.body.as_ref().map(|body| std::fs::read_to_string(format!("/proc/{}/cgroup", body.pid)));
        group.is_some_and(|group| group.is_ok_and(|group| group.contains("/termleash-")))
    }
}

/// What came of a round.
pub(crate) struct Done {
    pub(crate) took: Duration,
    pub(crate) was_in_a_group: bool,
}

pub(crate) fn round(killed: u8, has_groups: bool, random: &mut Random, bystanders: &Bystanders) -> Done {
    let variables = [("TERMLEASH_CREATE_TIMEOUT", "2s"), ("TERMLEASH_GRACE", "40ms"), ("TERMLEASH_TIMEOUT", "60s")];
    let place = Place::new(has_groups).with(&variables);
    let mut runner = place.start("victim");
    let is_early = random.below(3) == 0;
    let mut victims = Victims::find(&place, &mut runner, killed, is_early);
    let latest = if is_early { EARLY } else { LATEST };
    std::thread::sleep(Duration::from_micros(random.below(latest.as_micros() as u64)));
    victims.look_again();
    let was_in_a_group = victims.are_in_a_group();
    let mut runs: BTreeSet<String> = place.runs().into_iter().collect();

    let start = victims.kill(killed, random);
    place.note_ledgers();
    // One without a body may not have been told yet what it is to keep: then an empty ledger waits for the next run.
    let has_keeper = victims.body.is_some() && killed & KEEPER == 0;
    let is_anybody_left = killed & RUNNER == 0 || has_keeper;
    // What hides from everybody but its keeper is only named when that is dead.
    let is_excused = killed & KEEPER != 0 && !was_in_a_group;
    if !is_anybody_left {
        // Also the body, which ends itself.
        let is_of_ours = |command: &str| command.contains("--exact") || command.contains("termleash-keeper");
        let gone = until_none(&place.mark, start, CLEAN_WITHIN, |carrier| !is_of_ours(&carrier.command));
        gone.unwrap_or_else(|left| panic!("{} killed, and these live: {left:?}", name_of(killed)));
        // Who is dying shows neither arguments nor environment, and is not dead yet: a sweep leaves its run alone.
        let all = [Some(&victims.runner), victims.keeper.as_ref(), victims.body.as_ref()];
        assert!(all.into_iter().flatten().all(|process| process.ends_within(CLEAN_WITHIN)), "one of them lives");
        runs.extend(place.runs());
        let by = if random.below(2) == 0 { "sweep" } else { "next" };
        if place.ledger().exists() {
            place.run(by).passed();
        }
    }
    place.empties(start, |carrier| is_excused && carrier.is_cleared);
    place.has_no_ledger(start);
    let took = start.elapsed();
    for run in &runs {
        let leaf = leaf_of(run).filter(|leaf| leaf.exists());
        assert!(
            leaf.is_none(),
            "{} killed, and a control group is left: {leaf:?}\n{}",
            name_of(killed),
            place.all_said()
        );
    }
    if killed & RUNNER == 0 {
        place.ended(runner, "victim").failed();
    }
    if is_excused {
        end_carriers(&place.mark);
    }
    bystanders.are_well();
    Done { took, was_in_a_group }
}

/// Where a run's control group is, if there is one.
fn leaf_of(run: &str) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?.to_owned();
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    Some(PathBuf::from(mount).join(own).join(format!("termleash-{run}")))
}
