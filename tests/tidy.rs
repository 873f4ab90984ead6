//! The rules of this repository that a program can check: floors, folders, the form of a file, who may name an
//! operating system, sleep, read the environment or print, the changelog, the size of crate root and dependency tree.
//!
//! A rule is a function from texts to complaints. Beside the test that runs it over the repository stands one that
//! shows it a small tree which breaks it. Comments and the insides of literals can neither offend nor hide.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use source::File;

/// Crates in the tree of a user on this machine, ourselves counted: with default features, without any, and with all.
const MAX_CRATES: [(&[&str], usize); 3] = [(&[], 46), (&["--no-default-features"], 32), (&["--all-features"], 80)];

/// The text files of the repository, by path.
static REPOSITORY: LazyLock<Vec<File>> = LazyLock::new(read_repository);

fn read_repository() -> Vec<File> {
    fn walk(top: &Path, folder: &Path, files: &mut Vec<File>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
        for entry in entries.map(|entry| entry.expect("a folder that can be listed to its end")) {
            let (path, kind) = (entry.path(), entry.file_type().expect("a file that has a type"));
            let name = entry.file_name();
            // The lock names registries, as does the manifest that `cargo package` writes beside the original.
            let is_generated = name == "Cargo.lock" || path.with_extension("toml.orig").exists();
            if kind.is_dir() && name != ".git" && name != "target" {
                walk(top, &path, files);
            } else if kind.is_file() && !is_generated {
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let name = path.strip_prefix(top).expect("a path below the top").to_string_lossy().replace('\\', "/");
                files.push(File::new(&name, &text));
            }
        }
    }
    let mut files = Vec::new();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    walk(top, top, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn below(places: &[&str]) -> Vec<File> {
    REPOSITORY.iter().filter(|file| file.path.ends_with(".rs") && file.is_in(places)).cloned().collect()
}

fn one(path: &str) -> &'static File {
    REPOSITORY.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is missing"))
}

#[track_caller]
fn holds(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

fn tree(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(path, text)| File::new(path, text)).collect()
}

/// The complaints are these, each given by its beginning.
#[track_caller]
fn catches(complaints: Vec<String>, expected: &[&str]) {
    let same = complaints.len() == expected.len() && complaints.iter().zip(expected).all(|(a, b)| a.starts_with(b));
    assert!(same, "expected {expected:#?}, got {complaints:#?}");
}

#[test]
fn a_module_names_only_its_own_floor_and_those_below() {
    let files = below(&["src/"]);
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "src/lib.rs is missing");
    holds(rules::floors(&files));
}

#[test]
fn naming_a_higher_floor_is_caught() {
    let files = tree(&[
        ("src/lib.rs", "//! x\npub use tracker::Helper;"),
        ("src/error.rs", "use crate::{\n    event::{self, Event},\n    sys::{clock::{now}, pid as p},\n};"),
        (
            "src/sys/mod.rs",
            "mod clock;\npub use clock::now;\n// crate::tracker::A\nconst A: &str = \"crate::tracker\";",
        ),
        (
            "src/sys/clock.rs",
            "mod tests { use super::super::super::tracker; use super::super::now; }\nfn f() -> crate::Result<()> {}",
        ),
        (
            "src/process/mod.rs",
            "macro_rules! m { () => { $crate::server::start() } }\nuse crate::sys::now; use std::process::exit;",
        ),
        (
            "src/server.rs",
            "use super::tracker::A;\nfn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' || crate::keeper::k() }",
        ),
        (
            "src/tracker.rs",
            "const A: &str = r#\"\"crate::keeper\"\"#;\n/* /* */ crate::keeper::K */ use crate::sys::now;",
        ),
        ("src/widgets.rs", ""),
        ("src/bin/tool/main.rs", "use crate::exec::run; use termleash::anything;"),
    ]);
    let expected = [
        "src/error.rs:3: floors: `error` (floor 0) names `sys` (floor 1), which is higher",
        "src/error.rs:3: floors: `error` (floor 0) names `sys` (floor 1)",
        "src/sys/clock.rs:1: floors: `sys` (floor 1) names `tracker` (floor 4)",
        "src/sys/clock.rs:2: floors: `Result` is no module with a floor",
        "src/process/mod.rs:1: floors: `process` (floor 2) names `server` (floor 4)",
        "src/server.rs:2: floors: `server` (floor 4) names `keeper` (floor 5)",
        "src/widgets.rs:1: floors: `widgets` has no floor",
    ];
    catches(rules::floors(&files), &expected);
}

#[test]
fn no_two_modules_name_each_other() {
    holds(rules::cycles(&below(&["src/"])));
}

#[test]
fn a_cycle_is_caught_also_when_it_is_long() {
    let files = tree(&[
        ("src/error.rs", "use crate::event::Event;\nuse crate::limits::Limits;"),
        ("src/event.rs", "fn f() { crate::settings::get() }"),
        ("src/settings.rs", "use super::error::Error;"),
        ("src/limits.rs", ""),
        ("src/sys/mod.rs", "mod a;\nmod b;"),
        ("src/sys/a.rs", "use super::b::B;"),
        ("src/sys/b.rs", "#[cfg(test)]\nmod tests { use super::super::a::A; }"),
    ]);
    let expected = [
        "src/error.rs:1: cycles: `error` names `event`, which names it in turn",
        "src/event.rs:1: cycles: `event` names `settings`",
        "src/settings.rs:1: cycles: `settings` names `error`",
    ];
    catches(rules::cycles(&files), &expected);
}

#[test]
fn a_folder_is_a_facade_or_a_trait_folder() {
    holds(rules::folders(&below(&["src/"])));
}

#[test]
fn a_folder_that_is_both_is_caught() {
    let facade = "mod a;\nmod b;\npub use a::{A, make};\nuse b::B;\npub struct Own(B);";
    let files = tree(&[
        ("src/leak/mod.rs", "mod item;\npub(crate) use item::Item;\npub trait Leak {}\nuse std::item::X;"),
        ("src/leak/item.rs", "use super::Leak;\nmod tests { use super::*; use crate::leak::item::Item; }"),
        ("src/session/mod.rs", facade),
        ("src/session/a.rs", "use super::b::B;\nuse super::Own;"),
        ("src/session/b.rs", "fn f() { crate::session::make() }\nuse super::*;"),
        ("src/session/tests.rs", "use super::*;"),
        ("src/session/a_tests.rs", "use super::*;\nuse super::super::b::B;"),
    ]);
    let expected = [
        "src/session/a.rs:2: folders: `Own` is defined in src/session/mod.rs, which names its children (`b::B`)",
        "src/session/b.rs:1: folders: `make` is not defined in src/session/mod.rs; name the module that defines it",
        "src/session/b.rs:2: folders: `*` is not defined in src/session/mod.rs",
    ];
    catches(rules::folders(&files), &expected);
}

#[test]
fn every_file_is_short_finished_and_says_what_it_is_for() {
    let files = below(&["src/", "tests/", "examples/", "benches/"]);
    holds(files.iter().flat_map(rules::form).collect());
}

#[test]
fn long_unfinished_and_nameless_files_are_caught() {
    let text = "use a;\n// TODO: more\nfn f() { todo!() }\n    // f(1);\n// let x = 1;\n// if a {\n\
                \"// f();\nFIXME\";\n\
                /// f();\n// Done (by f); then\n// this (here);\n//! { {\nfn g() { dbg!(1); }";
    let expected = [
        "src/a.rs:1: header: does not begin with `//!`",
        "src/a.rs:1: length: 513 lines, at most 500",
        "src/a.rs:2: unfinished: `TODO`",
        "src/a.rs:3: unfinished: `todo!(`",
        "src/a.rs:13: unfinished: `dbg!(`",
        "src/a.rs:4: commented-out code: `f(1);`",
        "src/a.rs:5: commented-out code: `let x = 1;`",
        "src/a.rs:6: commented-out code: `if a {`",
    ];
    catches(rules::form(&File::new("src/a.rs", &format!("{text}{}", "\n".repeat(501)))), &expected);
    holds(rules::form(&File::new("src/a.rs", &format!("//! What it is.{}", "\n".repeat(500)))));
}

#[test]
fn only_the_named_places_touch_the_system_the_clock_the_environment_and_the_terminal() {
    holds(below(&["src/"]).iter().flat_map(rules::places).collect());
}

#[test]
fn touching_them_elsewhere_is_caught() {
    let text = "#[cfg(any(test, target_os = \"linux\"))] mod a;\n#[cfg(feature = \"unix\")] mod b;\n\
                unsafe impl Send for A {}\n\
                use std::thread::{self, sleep};\n\
                fn f() { thread::sleep(t); eprintln!(); write!(io::stdout(), \"print!\"); }\n\
                fn g() { env::var(\"PATH\"); env::var(\"TERMLEASH_GRACE\"); std::env::var_os(NAME); env::vars_os(); }\n\
                #![expect(unsafe_code)] // unsafe, thread::sleep\nfn h() { cfg!(windows) } /// println!()";
    let expected = [
        "src/a.rs:3: place: `unsafe` only in src/sys/",
        "src/a.rs:1: place: a `cfg` that names an operating system only in src/sys/, src/session/pty.rs",
        "src/a.rs:8: place: a `cfg`",
        "src/a.rs:5: place: `eprintln!` only in src/event/",
        "src/a.rs:4: place: sleeping only in src/backoff.rs",
        "src/a.rs:5: place: sleeping",
        "src/a.rs:5: place: standard output",
        "src/a.rs:6: place: reading our variables only in src/settings.rs",
        "src/a.rs:6: place: reading our variables",
        "src/a.rs:6: place: the whole environment only in src/settings.rs, src/session/, src/sys/",
    ];
    catches(rules::places(&File::new("src/a.rs", text)), &expected);
    holds(rules::places(&File::new("src/a.rs", "#[cfg(all(test, unix))]\nmod tests {}")));
    holds(rules::places(&File::new("src/sys/a.rs", "#[cfg(unix)]\nunsafe fn f() { env::vars_os(); }")));
    holds(rules::places(&File::new("src/session/pty.rs", "#[cfg(not(target_os = \"linux\"))]\nfn f() {}")));
}

#[test]
fn the_changelog_begins_with_this_version() {
    holds(rules::changelog(one("CHANGELOG.md"), env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_changelog_without_this_version_is_caught() {
    let entry = |heading: &str, text: &str| File::new("CHANGELOG.md", &format!("# Changelog\n\n{heading}\n\n{text}\n"));
    holds(rules::changelog(&entry("## 0.2.0 - 2026-11-30", "This release adds a thing."), "0.2.0"));
    for heading in
        ["## 0.1.0 - 2026-11-30", "## 0.2.0", "## 0.2.0 - soon", "## 0.2.0 - 30.11.2026", "### 0.2.0 - 2026-11-30"]
    {
        catches(rules::changelog(&entry(heading, "This release adds."), "0.2.0"), &["CHANGELOG.md:1: changelog: "]);
    }
    catches(rules::changelog(&entry("## 0.2.0 - 2026-11-30", "### Added"), "0.2.0"), &["CHANGELOG.md:1: changelog: "]);
}

#[test]
fn the_crate_root_is_small() {
    holds(rules::root(&below(&["src/"])));
}

#[test]
fn a_crowded_root_is_caught() {
    let library = "//! x\npub mod a;\nmod b;\npub use b::{B as C, D, e::{F}};\npub(crate) use b::G;\n\
                   pub async fn h() {}\n\
                   #[must_use] pub const fn i() {}\npub const J: u8 = 1;\npub struct K { pub field: u8 }\nfn n() {}\n\
                   pub use a::{self};\nmod l { pub fn m() {} }";
    let other = "pub fn o() {}\n#[macro_export]\nmacro_rules! p { () => {} }";
    let names = rules::root_names(&tree(&[("src/lib.rs", library), ("src/b.rs", other)]));
    assert_eq!(names.into_iter().collect::<Vec<_>>().join(" "), "C D F J K a h i p");
    let many: String = (0..21).map(|n| format!("pub use b::N{n};\n")).collect();
    catches(rules::root(&tree(&[("src/lib.rs", &many)])), &["src/lib.rs:1: root: at most 20 names"]);
    catches(rules::root(&tree(&[("src/lib.rs", "pub use b::*;")])), &["src/lib.rs:1: root: at most 20 names"]);
}

#[test]
fn nothing_in_the_repository_is_true_on_one_machine_only() {
    holds(REPOSITORY.iter().flat_map(rules::addresses).collect());
}

#[test]
fn machine_paths_and_registry_addresses_are_caught() {
    let text = "A=/ro_ot/x\n/proc/1/ro_ot/x\n`/wo_rk/`\nhttps://crate_s.io/crates/x\n".replace('_', "");
    let expected = ["README.md:1: address: ", "README.md:3: address: ", "README.md:4: address: "];
    catches(rules::addresses(&File::new("README.md", &text)), &expected);
}

#[test]
fn the_dependency_tree_stays_light() {
    for (options, limit) in MAX_CRATES {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .args(["tree", "--edges", "normal", "--prefix", "none"])
            .args(options)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock").exists() {
            cargo.args(["--locked", "--offline"]);
        }
        let output = cargo.output().unwrap_or_else(|error| panic!("cannot start {cargo:?}: {error}"));
        assert!(output.status.success(), "{cargo:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        let list = String::from_utf8_lossy(&output.stdout);
        let count = rules::crates(&list).len();
        assert!(count > 1, "{cargo:?} printed no crates: {list:?}");
        assert!(
            count <= limit,
            "Cargo.toml: crates: {count} with {options:?}, at most {limit}; drop a dependency:\n{list}"
        );
    }
}

#[test]
fn a_crate_listed_twice_counts_once_and_two_versions_count_twice() {
    let list = "termleash v0.1.0 (/x)\nlibc v0.2.1\nserde v1.0.2\nserde_derive v1.0.2 (proc-macro)\n\
                libc v0.2.1 (*)\nlibc v0.1.0\n\n";
    assert_eq!(rules::crates(list).len(), 5);
}
