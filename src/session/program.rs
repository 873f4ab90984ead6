//! Finding a program, and explaining why it could not be started.
//!
//! exec answers "No such file or directory" for a missing program, a missing interpreter of a script, a missing
//! loader and a missing working directory alike; which it was is found out afterwards.

use crate::error::{Error, Result};
use crate::session::environment::Environment;
use crate::session::spec::SessionSpec;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Where programs are looked for without a `PATH`, as execvp(3) does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The program's path: as given if it contains a slash, else the first of the session's `PATH` that can be executed.
///
/// # Errors
///
/// [`Error::is_invalid_input`] if there is none.
pub(crate) fn find(spec: &SessionSpec, environment: &Environment) -> Result<PathBuf> {
    let program = spec.program();
    if program.as_encoded_bytes().contains(&b'/') {
        return Ok(program.into());
    }
    let path = environment.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    // Like exec, which says "permission denied" only if nothing better comes later.
    let mut not_executable = None;
    for directory in std::env::split_paths(path) {
        // Absolute, since it is looked for from here and started from the session's directory.
        let candidate = from_directory(spec, &directory.join(program));
        let candidate = std::path::absolute(&candidate).unwrap_or(candidate);
        match fs::metadata(&candidate) {
            Ok(found) if found.is_file() && is_executable(&found) => return Ok(candidate),
            Ok(found) if found.is_file() => not_executable = not_executable.or(Some(candidate)),
            _ => {}
        }
    }
    Err(match not_executable {
        Some(found) => Error::invalid(format!(
            "cannot start `{}`: {} is not executable; run `chmod +x` on it, or name its interpreter as the program",
            spec.command_line(),
            found.display()
        )),
        None => Error::invalid(format!(
            "cannot start `{}`: there is no program `{}` in the session's PATH ({}){}",
            spec.command_line(),
            program.display(),
            path.display(),
            shell_hint(spec)
        )),
    })
}

/// A relative path as the program sees it, which starts in its own working directory.
fn from_directory(spec: &SessionSpec, path: &Path) -> PathBuf {
    spec.directory().map_or_else(|| path.to_owned(), |directory| directory.join(path))
}

fn is_executable(file: &fs::Metadata) -> bool {
    crate::sys::is_executable(file)
}

fn shell_hint(spec: &SessionSpec) -> &'static str {
    let looks_like_a_line = spec.program().as_encoded_bytes().iter().any(|byte| b" \t|&;<>$()`\"'*?".contains(byte));
    match (looks_like_a_line, spec.arguments().is_empty()) {
        (true, true) => "; for a command line write `SessionSpec::shell(\"…\")`",
        _ => "; install it, or give its path",
    }
}

/// Says which of the things that `cause` can mean it was.
pub(crate) fn explain(spec: &SessionSpec, program: &Path, cause: io::Error) -> Error {
    if let Some(directory) = spec.directory() {
        match fs::metadata(directory) {
            Err(reason) => {
                return cannot(spec, &format!("its working directory {} is missing ({reason})", directory.display()));
            }
            Ok(found) if !found.is_dir() => {
                return cannot(spec, &format!("its working directory {} is not a directory", directory.display()));
            }
            Ok(_) => {}
        }
    }
    let path = from_directory(spec, program);
    let shown = path.display();
    let found = match fs::metadata(&path) {
        Err(reason) => return cannot(spec, &format!("{shown} cannot be found ({reason}){}", shell_hint(spec))),
        Ok(found) => found,
    };
    if found.is_dir() {
        return cannot(spec, &format!("{shown} is a directory"));
    }
    if !is_executable(&found) {
        let hint = "run `chmod +x` on it, or name its interpreter as the program";
        return cannot(spec, &format!("{shown} is not executable; {hint}"));
    }
    match (cause.raw_os_error(), Interpreter::of(&path)) {
        (Some(NOT_FOUND), Interpreter::Script(interpreter)) if interpreter.ends_with('\r') => {
            let hint = "write it with the line ends of this system, as `dos2unix` does";
            cannot(spec, &format!("the `#!` line of {shown} ends with a carriage return; {hint}"))
        }
        (Some(NOT_FOUND), Interpreter::Script(interpreter)) => {
            let hint = "install it, or mend the `#!` line";
            cannot(spec, &format!("{shown} is a script for {interpreter}, which is missing; {hint}"))
        }
        (Some(NOT_PERMITTED), Interpreter::Script(interpreter)) => {
            let hint = "run `chmod +x` on it, or mend the `#!` line";
            cannot(spec, &format!("{shown} is a script for {interpreter}, which is not executable; {hint}"))
        }
        (Some(NOT_FOUND), Interpreter::Binary) => {
            let hint = "it was built for another system (see `file` of it)";
            cannot(spec, &format!("{shown} is there, but its loader is not: {hint}"))
        }
        (Some(TOO_LONG), _) => {
            let hint = "pass the long ones in a file";
            cannot(spec, &format!("its arguments and variables are longer than the system takes; {hint}"))
        }
        (Some(EXEC_FORMAT | IO | INVALID | LIB_BAD), _) => {
            let hint = "if it is a script, begin it with `#!/bin/sh`; else it is damaged: build or download it again";
            cannot(spec, &format!("{shown} is neither a program of this machine nor a script ({cause}); {hint}"))
        }
        _ => Error::os(format!("start `{}` ({shown})", spec.command_line()), "", cause),
    }
}

// Error numbers that are the same on every Unix, but for the last, Linux's `ELIBBAD`.
const NOT_FOUND: i32 = 2;
/// What the kernel says of a program that ends in the middle of its header.
const IO: i32 = 5;
const TOO_LONG: i32 = 7;
const EXEC_FORMAT: i32 = 8;
const NOT_PERMITTED: i32 = 13;
const INVALID: i32 = 22;
const LIB_BAD: i32 = 80;

fn cannot(spec: &SessionSpec, why: &str) -> Error {
    Error::invalid(format!("cannot start `{}`: {why}", spec.command_line()))
}

enum Interpreter {
    Script(String),
    Binary,
}

impl Interpreter {
    /// What the first line says, as the kernel reads it (execve(2), "Interpreter scripts").
    fn of(program: &Path) -> Self {
        let mut beginning = Vec::new();
        let read = fs::File::open(program).and_then(|file| file.take(256).read_to_end(&mut beginning));
        match beginning.strip_prefix(b"#!") {
            Some(line) if read.is_ok() => {
                let line = String::from_utf8_lossy(line);
                // Blanks and tabs separate; a carriage return is part of the name, for the kernel as here.
                let word = line.split('\n').next().unwrap_or_default().split([' ', '\t']).find(|word| !word.is_empty());
                Self::Script(word.unwrap_or_default().to_owned())
            }
            _ => Self::Binary,
        }
    }
}
