//! Which of these tests there are on this machine, and the tests.

use crate::dead::{Dead, VICTIM, dies_beside, dies_by, dies_counted, is_victim};
use crate::memory_group::{LIMIT, MemoryGroup};
use libtest_mimic::{Arguments, Trial};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;
use termleash::process::death::core_notes::{CoreNotes, Origin};
use termleash::process::death::{AbortReason, CorePattern, HardLimit, OomCounters, OutOfMemory};
use termleash::process::{CauseOfDeath, Evidence, ProcessHandle};
use termleash::server::{ServerGuard, ServerSpec};
use termleash::{PtyBackend, SessionSpec, SessionTestHelper};

pub(crate) fn main() -> ExitCode {
    if is_victim() {
        return match std::env::var(VICTIM).as_deref() {
            Ok("grows") => grow(),
            Ok("session") => a_session_grows(),
            Ok("server") => a_server_grows(),
            Ok("body") => a_body_grows(),
            _ => {
                std::thread::sleep(Duration::from_secs(120));
                ExitCode::FAILURE
            }
        };
    }
    let no_group = MemoryGroup::make().err().map(|why| format!("no memory control group can be made: {why}"));
    let trials = vec![
        trial("the_kernels_kill_in_a_memory_group_is_want_of_memory", &no_group, the_kernels_kill),
        trial("a_strangers_kill_beside_one_of_the_kernels_is_a_strangers", &no_group, a_strangers_kill),
        trial("of_body_session_and_server_the_kernels_kill_is_told_as_want_of_memory", &no_group, each_is_killed),
        trial("nodes_heap_limit_is_want_of_memory_and_no_other_abort", &no_node(), nodes_heap_limit),
        trial("nodes_heap_limit_in_a_session_and_in_a_server_is_want_of_memory", &no_node(), nodes_heap_limit_there),
        trial("a_core_file_is_where_it_is_said_to_be_and_says_what_happened", &no_core(), a_core_file),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Where something is missing it is listed as ignored, with the reason, and fails when it is run all the same.
fn trial(name: &str, missing: &Option<String>, run: fn()) -> Trial {
    let reason = missing.clone();
    let trial = Trial::test(name, move || match reason {
        Some(why) => Err(why.into()),
        None => {
            run();
            Ok(())
        }
    });
    match missing {
        Some(why) => trial.with_ignored_flag(true).with_kind(why),
        None => trial,
    }
}

fn no_node() -> Option<String> {
    let mut node = Command::new("node");
    node.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (!node.status().is_ok_and(|status| status.success())).then(|| "needs node: https://nodejs.org".to_owned())
}

fn no_core() -> Option<String> {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with(['|', '/']) || pattern.trim().is_empty() {
        return Some(format!("core files do not go where a process runs: core_pattern is `{}`", pattern.trim()));
    }
    let limit = getrlimit(Resource::Core).maximum;
    limit.is_some_and(|limit| limit < 1 << 24).then(|| "core files are limited: see `ulimit -Hc`".to_owned())
}

/// Touches more than its group may have.
fn grow() -> ExitCode {
    let mut blocks = Vec::new();
    for _ in 0..4 * LIMIT / (1 << 20) {
        blocks.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
    ExitCode::FAILURE
}

fn this_program() -> std::path::PathBuf {
    std::env::current_exe().expect("this program has a path")
}

/// Starts a process that grows within a group, and is there before its memory is counted.
fn grows_in(group: &MemoryGroup) -> Dead {
    let mut command = Command::new("sh");
    let script = "echo $$ > \"$1/cgroup.procs\" && echo ready && read -r _ && export \"$2=$3\" && exec \"$4\"";
    command.args(["-c", script, "sh"]).arg(group.path()).args([VICTIM, "grows"]).arg(this_program());
    command.stdin(Stdio::piped());
    let dead = dies_counted(command, |child| {
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().expect("a pipe"));
        output.read_line(&mut said).expect("it can be read");
        assert_eq!(said, "ready\n", "it could not enter its group");
        let process = ProcessHandle::open(child.id()).expect("it lives");
        let counters = OomCounters::of(&process);
        writeln!(child.stdin.as_mut().expect("a pipe"), "go").expect("it reads");
        counters
    });
    dead.expect("this is not the victim")
}

fn the_kernels_kill() {
    let group = MemoryGroup::make().expect("one could be made a moment ago");
    let mut dead = grows_in(&group);
    let death = dead.has_died_of(&CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group: true }));
    let counted = |evidence: &Evidence| match evidence {
        Evidence::GroupKills { file, before, after } => file.starts_with(group.path()) && (*before, *after) == (0, 1),
        _ => false,
    };
    assert!(death.evidence().iter().any(counted), "{death:#}");
    // Somebody else of the group could have been the one.
    assert!(death.evidence().contains(&Evidence::NamesNobody), "{death:#}");
    // The same, where the group's limit is known to be ours.
    dead.facts = dead.facts.hard_limit(HardLimit::Group(LIMIT));
    dead.has_died_of(&CauseOfDeath::OutOfMemory(OutOfMemory::HardLimit(HardLimit::Group(LIMIT))));
}

/// Runs this program again within a group, and answers with what it printed.
fn within(group: &MemoryGroup, what: &str) -> String {
    let mut command = Command::new("sh");
    let script = "echo $$ > \"$1/cgroup.procs\" && export \"$2=$3\" && exec \"$4\"";
    command.args(["-c", script, "sh"]).arg(group.path()).args([VICTIM, what]).arg(this_program());
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The greatest one of a group is killed: that is what grows, and never whoever waits for it.
fn each_is_killed() {
    for what in ["session", "server", "body"] {
        let group = MemoryGroup::make().expect("one could be made a moment ago");
        let text = within(&group, what);
        let cause = "cause of death: out of memory: the kernel killed it within its control group";
        assert_eq!(text.matches(cause).count(), 1, "{what}:\n{text}");
        assert!(text.contains("the kernel killed 1 of its control group for want of memory"), "{what}:\n{text}");
    }
}

const NEVER: &str = "what never comes";

fn dies_in_a_session(spec: SessionSpec) -> String {
    let helper = SessionTestHelper::new(PtyBackend::new());
    termleash::block_on(async {
        let session = helper.create_tracked_session(spec).await.expect("it starts");
        let error = session.wait_for_text_within(NEVER, Duration::from_secs(120)).await.expect_err("it dies");
        session.close().await.expect("it is gone");
        error.to_string()
    })
}

fn dies_as_a_server(spec: ServerSpec) -> String {
    let spec = spec.without_port().ready_line(NEVER).ready_within(Duration::from_secs(120));
    termleash::block_on(spec.start()).expect_err("it dies").to_string()
}

fn a_session_grows() -> ExitCode {
    println!("{}", dies_in_a_session(SessionSpec::new(this_program()).env(VICTIM, "grows")));
    ExitCode::SUCCESS
}

fn a_server_grows() -> ExitCode {
    println!("{}", dies_as_a_server(ServerGuard::command(this_program()).env(VICTIM, "grows")));
    ExitCode::SUCCESS
}

fn a_body_grows() -> ExitCode {
    termleash::options().rerun_with([] as [&str; 0]).run(async |_| {
        grow();
        Ok(())
    });
    ExitCode::SUCCESS
}

fn nodes_heap_limit_there() {
    let arguments = ["--max-old-space-size=32", "-e", ENDLESS];
    let session = dies_in_a_session(SessionSpec::new("node").args(arguments));
    let server = dies_as_a_server(ServerGuard::command("node").args(arguments));
    for text in [session, server] {
        assert!(text.contains("cause of death: out of memory: V8's heap was at its limit"), "{text}");
        assert!(text.contains("it printed `FATAL ERROR: "), "{text}");
    }
}

/// The machine's counter rises; that of its own group says that this was somebody else.
fn a_strangers_kill() {
    let group = MemoryGroup::make().expect("one could be made a moment ago");
    let mut command = Command::new(this_program());
    command.stdin(Stdio::null());
    let dead = dies_beside(command, |pid| {
        grows_in(&group);
        let pid = Pid::from_raw(pid.cast_signed()).expect("it is a number");
        kill_process(pid, Signal::KILL).expect("it is our child, and not reaped");
    });
    let dead = dead.expect("this is not the victim");
    let death = dead.death();
    let rose = |evidence: &Evidence| matches!(evidence, Evidence::MachineKills { before, after } if after > before);
    assert!(death.evidence().iter().any(rose), "{death:#}");
    let decides = OomCounters::own().group().is_some_and(termleash::process::death::GroupKills::decides);
    let expected = match decides {
        true => CauseOfDeath::Signal { signal: 9 },
        // Nobody can tell them apart there.
        false => CauseOfDeath::OutOfMemory(OutOfMemory::Kernel { in_its_group: false }),
    };
    dead.has_died_of(&expected);
}

const ENDLESS: &str = "const a = []; for (;;) a.push(new Array(1000).fill('x' + a.length))";

/// As in the incident.
fn nodes_heap_limit() {
    let dies = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        dies_by(command).expect("this is not the victim")
    };
    let dead = dies("node", &["--max-old-space-size=32", "-e", ENDLESS]);
    dead.has_died_of(&CauseOfDeath::OutOfMemory(OutOfMemory::V8Heap));
    let dead = dies("node", &["-e", "console.error('out of memory'); process.abort()"]);
    dead.has_died_of(&CauseOfDeath::Abort { reason: AbortReason::Unsaid, thread: None, message: None });
    // By way of a shell, as servers are often started.
    let dead = dies("sh", &["-c", "node --max-old-space-size=32 -e \"$1\"; exit $?", "sh", ENDLESS]);
    let death = dead.has_died_of(&CauseOfDeath::Exit { status: 134 });
    assert!(death.evidence().contains(&Evidence::ShellStatus(6)), "{death:#}");
    assert!(death.to_string().contains("JavaScript heap out of memory"), "{death:#}");
}

fn a_core_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited && kill -SEGV $$", "sh", "two words"]);
    command.current_dir(directory.path()).stdin(Stdio::null());
    let mut killed = 0;
    let dead = dies_beside(command, |pid| killed = pid).expect("this is not the victim");
    let death = dead.has_died_of(&CauseOfDeath::Signal { signal: 11 });
    let entries = std::fs::read_dir(directory.path()).expect("a directory").map(|entry| entry.expect("an entry"));
    let [file] = &entries.collect::<Vec<_>>()[..] else { panic!("there is not one file: {death:#}") };
    let name = file.file_name().to_string_lossy().into_owned();
    let pointer = CorePattern::read().expect("it was read").pointer(Some(killed), 11);
    assert!(death.evidence().contains(&Evidence::Core(pointer.clone())), "{death:#}");
    let (_, said) = pointer.split_once('`').expect("a name");
    let said = said.split('`').next().unwrap_or_default();
    assert!(said.contains('*') || name.starts_with(said), "{name}, and said was {pointer}");
    let mut head = Vec::new();
    let core = std::fs::File::open(file.path()).expect("it is ours");
    core.take(1 << 20).read_to_end(&mut head).expect("it can be read");
    let notes = CoreNotes::parse(&head).expect("a core");
    assert_eq!((notes.pid, notes.signal, notes.threads.first().copied()), (Some(killed), Some(11), Some(killed)));
    assert_eq!(notes.parent, Some(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()));
    assert!(matches!(notes.origin, Some(Origin::Process { code: 0, pid, .. }) if pid == killed), "{notes:?}");
    assert!(notes.command.as_deref().is_some_and(|command| command.ends_with("two words")), "{notes:?}");
    assert!(notes.files.iter().any(|file| file.path.contains("/libc") || file.path.contains("sh")), "{notes:?}");
    assert!(notes.to_string().contains("ended by signal 11, sent by itself"), "{notes}");
}
