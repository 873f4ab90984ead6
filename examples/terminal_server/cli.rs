//! The server as a program of its own.

use super::Server;
use super::options::{Fault, Leak, Options, named};
use super::sessions::RESTARTED;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
A small terminal server: interactive programs on pseudo-terminals, by HTTP on 127.0.0.1.

Usage: terminal_server [OPTIONS]

  --port N            the port, 0 for any that is free (default 0)
  --max-output BYTES  output that is kept of each session (default 262144)
  --leak KIND         what each session that ends leaves behind, until the server ends
  --fault KIND        how the server fails its clients
  --fault-after N     requests (other than /health) that are answered well before (default 0)
  --help              this text

It prints `listening on http://127.0.0.1:PORT` when it is ready, and ends its sessions and itself at SIGTERM or ctrl-c.
";

/// Runs a server until it is told to end. `again` is the command line of this process, with its program.
pub(crate) fn main(arguments: impl Iterator<Item = String>, again: Vec<OsString>) -> ExitCode {
    let options = match parse(arguments) {
        Ok(Some(options)) => Options { restart: again, ..options },
        Ok(None) => {
            print(&help());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}; --help lists what there is");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.map_err(|cause| format!("cannot start a runtime: {cause}"));
    match ran.and_then(|runtime| runtime.block_on(run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut options: Options) -> Result<(), String> {
    if let Some(port) = std::env::var(RESTARTED).ok().and_then(|port| port.parse().ok()) {
        options = Options { port, fault: None, ..options };
    }
    // Before anybody is told that the server is there.
    let deaf = |cause| format!("cannot listen to signals: {cause}");
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    let port = options.port;
    let server = Server::start(options).await;
    let server = server.map_err(|cause| format!("cannot listen on port {port} of 127.0.0.1: {cause}"))?;
    print(&format!("listening on {}\n", server.url));
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    server.stop().await
}

/// Nobody may be reading, which is no reason to end.
fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

fn help() -> String {
    let mut text = USAGE.to_owned();
    text.push_str("\nKinds of leaks:\n");
    Leak::ALL.iter().for_each(|(name, _, what)| text.push_str(&format!("  {name:<11} {what}\n")));
    text.push_str("\nKinds of faults:\n");
    Fault::ALL.iter().for_each(|(name, _, what)| text.push_str(&format!("  {name:<11} {what}\n")));
    text
}

/// None: the text of help is asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (&*argument, None),
        };
        if matches!(option, "--help" | "-h") {
            return Ok(None);
        }
        let mut value = || value.clone().or_else(|| arguments.next()).ok_or_else(|| format!("{option} needs a value"));
        match option {
            "--port" => options.port = number(option, &value()?)?,
            "--max-output" => options.max_output = number(option, &value()?)?,
            "--leak" => options.leak = Some(named(&Leak::ALL, option, &value()?)?),
            "--fault" => options.fault = Some(named(&Fault::ALL, option, &value()?)?),
            "--fault-after" => options.fault_after = number(option, &value()?)?,
            _ => return Err(format!("unknown option {argument:?}")),
        }
    }
    Ok(Some(options))
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} {text:?}: give a number"))
}
