//! Which tests there are, for which server, and what a server that is missing makes of them.

#[path = "../dying/mod.rs"]
mod dying;
mod endings;
mod hunts;
mod incident;
mod killing;
mod race;
mod real;
mod screen;
mod shapes;
mod strangers;
mod tmux;
mod vibetunnel;
mod victim;

use incident::example::patience::{self, become_patient};
use incident::example::web;
use libtest_mimic::{Arguments, Failed, Trial};
use real::Kind;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use termleash::options;
use termleash::session::BoxError;
use termleash::testing::Scope;

/// Longer than anything takes on a busy machine, races and hunts apart.
const LIMIT: Duration = Duration::from_secs(100);
const LONG: Duration = Duration::from_secs(1_800);

static TURN: Mutex<()> = Mutex::new(());

/// One test of one server.
pub(crate) struct Case {
    name: &'static str,
    kinds: &'static [Kind],
    limit: Duration,
    run: fn(&str, Kind, Duration) -> Result<(), Failed>,
}

/// A test's body under the leak check, in a process of its own: this harness names no thread after its test, and tells
/// the other process which one it is by the arguments.
pub(crate) fn run<F>(name: &str, kind: Kind, limit: Duration, body: F) -> Result<(), Failed>
where
    F: AsyncFnOnce(&Scope, Kind) -> Result<(), BoxError>,
{
    let again = ["--exact", name, "--include-ignored", "--test-threads=1", "--nocapture"];
    options().name(name).timeout(limit).rerun_with(again).run(async |t| body(t, kind).await);
    Ok(())
}

macro_rules! cases {
    ($limit:expr, $kinds:expr, $module:ident: $($name:ident),+ $(,)?) => {
        [$(Case {
            name: stringify!($name),
            kinds: $kinds,
            limit: $limit,
            run: |name, kind, limit| run(name, kind, limit, $module::$name),
        }),+]
    };
}

fn cases() -> Vec<Case> {
    use Kind::{Screen, Tmux, VibeTunnel};
    let all: &'static [Kind] = &[Tmux, VibeTunnel, Screen];
    let mut cases = Vec::new();
    cases.extend(cases![LIMIT, all, shapes:
        an_interactive_shell_is_typed_to_and_ends,
        a_program_that_ignores_hang_up_and_term_ends,
        what_left_its_session_ends_and_what_hid_as_well_is_named,
        a_session_that_ended_by_itself_is_gone_already,
    ]);
    cases.extend(cases![LIMIT, all, strangers:
        one_made_by_other_means_ends_once_it_is_tracked,
        nobody_elses_session_is_touched,
        a_second_kill_reaches_nobody,
    ]);
    cases.extend(cases![LIMIT, &[VibeTunnel], strangers: the_servers_own_variable_is_a_mark]);
    cases.extend(cases![LIMIT, &[Tmux, VibeTunnel], strangers: a_restarted_server_has_none_of_ours]);
    cases.extend(cases![LONG, all, killing: twenty_end_together]);
    cases.extend(cases![LIMIT, &[Tmux, VibeTunnel], killing: a_servers_death_leaves_no_session_of_ours]);
    cases.extend(cases![LIMIT, all, killing: a_dropped_helper_ends_its_sessions]);
    cases.extend(cases![LONG, all, endings: however_a_test_ends_its_sessions_do_and_no_others]);
    cases.extend(cases![LONG, &[VibeTunnel], incident: the_incident_is_replayed]);
    cases.extend(cases![LONG, &[Tmux, VibeTunnel], race: two_suites_on_one_server_and_one_is_killed]);
    cases.extend(cases![LONG, &[Tmux], hunts: rounds_leave_nothing_in_tmux, noisy_neighbours_change_nothing]);
    cases.extend(cases![LONG, &[VibeTunnel], hunts: what_vibetunnel_does_for_ended_sessions_is_found]);
    cases
}

pub(crate) fn main() -> ExitCode {
    become_patient();
    if let Some((part, mark)) = dying::part() {
        victim::play(&part, &mark);
        return ExitCode::SUCCESS;
    }
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let mut trials = Vec::new();
    for kind in [Kind::Tmux, Kind::VibeTunnel, Kind::Screen] {
        let missing = kind.is_missing();
        for case in cases().into_iter().filter(|case| case.kinds.contains(&kind)) {
            let name = format!("{kind}::{}", case.name);
            let (run, limit, same) = (case.run, case.limit, name.clone());
            let told = missing.clone();
            let trial = Trial::test(name, move || match told {
                Some(why) => Err(why.into()),
                None => {
                    // Each of these keeps two processors busy, by what it does for its sessions: one at a time.
                    let _turn = (kind == Kind::VibeTunnel).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
                    run(&same, kind, limit)
                }
            });
            // What this build cannot run no install brings: CI runs them in a build that can.
            let trial = trial.with_ignored_flag(missing.is_some() && (!is_ci || !kind.is_built()));
            trials.push(match &missing {
                Some(why) => trial.with_kind(why),
                None => trial,
            });
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
