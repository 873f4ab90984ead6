//! A test's life in miniature: sessions of ours, a stranger's session, what a kill does to each, and what a leak check says.
//!
//! `cargo run --example quickstart`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use termleash::leak::{Kind, LeakReport};
use termleash::process::ProcessHandle;
use termleash::session::Key;
use termleash::{LeakCheck, PtyBackend, SessionBackend, SessionSpec, SessionTestHelper, block_on};

fn main() -> Result<(), Box<dyn Error>> {
    // What is about to go has a second for it; what is left on purpose below is waited for as long.
    let check = LeakCheck::new().named("quickstart").settle_within(Duration::from_secs(1));
    block_on(kill_our_own())?;

    println!("\n--- all of that left nothing behind:\n");
    let report = check.find_blocking()?;
    print!("{report}");
    assert!(report.is_clean(), "something was left");

    println!("\n--- now a session, a descriptor and a thread are left on purpose:\n");
    let report = leak_on_purpose(&check)?;
    print!("{report}");
    for kind in [Kind::Session, Kind::File, Kind::Thread] {
        assert!(report.findings.iter().any(|finding| finding.item().kind == kind), "the {kind} was not found");
    }
    println!(
        "\n(`assert_no_leaks!(check)` would have panicked with that; `termleash::test` does so after every test.)"
    );
    Ok(())
}

async fn kill_our_own() -> Result<(), Box<dyn Error>> {
    // Everybody's sessions live on one server; here it is a backend that this process shares with a stranger.
    let server = Arc::new(PtyBackend::new());
    let stranger = server.create(&SessionSpec::new("sh")).await.map_err(|cause| cause.to_string())?;
    let strangers_shell = ProcessHandle::open(stranger.leader_pid().ok_or("the stranger's shell has no pid")?)?;

    // A helper knows the sessions that it created, and no others.
    let helper = SessionTestHelper::new(Arc::clone(&server));
    let talking = helper.create_tracked_session("bash").await?;
    let daemonic = helper.create_tracked_session("sh").await?;
    let idle = helper.create_tracked_session(SessionSpec::new("sleep").arg("1000")).await?;
    println!(
        "three sessions of ours: {}, {}, {}; a stranger's: {}\n",
        talking.id(),
        daemonic.id(),
        idle.id(),
        stranger.id()
    );

    // Talk to one: a command's output without echo and prompt, and its status.
    let size = talking.run("stty size").await?;
    println!("`stty size` in {} printed {:?}, status {}", talking.id(), size.stdout(), size.status());
    talking.resize(50, 132).await?;
    println!("after a resize it prints {:?}", talking.run("stty size").await?.stdout());
    talking.write_line("sleep 1000").await?;
    talking.send_key(Key::CtrlC).await?;
    println!("Ctrl-C interrupts: `false` then has status {}\n", talking.run("false").await?.status());

    // Start what outlives its shell: a grandchild in a session of its own that ignores the hang-up.
    let started = daemonic.run("setsid nohup sleep 1000 </dev/null >/dev/null 2>&1 & echo $!").await?;
    println!("{} has started a daemon, pid {}", daemonic.id(), started.stdout());

    // Leave all three to the helper, and have it end them: together, and proven.
    let ours = [talking.keep(), daemonic.keep(), idle.keep()];
    let report = helper.kill_tracked_sessions().await?;

    println!("\nended together, and proven, in {:.1?}:", report.took());
    println!("{:<10} {:<24} {:>7}", "session", "ended by", "signals");
    for outcome in report.outcomes() {
        let exit = outcome.exit().map_or_else(|| "unknown".to_owned(), |exit| exit.to_string());
        let id = outcome.id().map_or("-", |id| id.as_str());
        println!("{id:<10} {exit:<24} {:>7}", outcome.steps().len());
    }
    println!("{:<10} {:<24} {:>7}", stranger.id(), "lives", 0);

    assert!(strangers_shell.is_alive(), "a stranger's session was touched");
    assert!(ours.iter().all(|session| session.leader().is_none_or(|leader| !leader.is_alive())));
    assert!(helper.survivors()?.is_empty(), "something of ours is left");
    println!("\nnothing of ours is left, and the stranger's shell (pid {}) lives", strangers_shell.pid());

    // The stranger leaves by itself.
    server.kill(stranger.id()).await.map_err(|cause| cause.to_string())?;
    server.discard_record(stranger.id()).await.map_err(|cause| cause.to_string())?;
    Ok(())
}

fn leak_on_purpose(check: &LeakCheck) -> Result<LeakReport, Box<dyn Error>> {
    let helper = SessionTestHelper::new(PtyBackend::new());
    // In a block of its own, so that the runtime it runs in is gone before the look.
    block_on(async { helper.create_tracked_session("sh").await.map(|guard| guard.keep()) })?;
    let file = std::fs::File::open("Cargo.toml")?;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::Builder::new().name("pty-reader".into());
    let reader = reader.spawn(move || stopped.recv().unwrap_or_default())?;

    let report = check.find_blocking()?;

    // An example leaves nothing behind in earnest.
    drop(stop);
    reader.join().map_err(|_| "the thread panicked")?;
    drop(file);
    block_on(helper.kill_tracked_sessions())?;
    Ok(report)
}
