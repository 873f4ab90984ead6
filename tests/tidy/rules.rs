//! The rules: functions from texts to complaints that name file, line, rule and what to do.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, Mention, closing, first_word, is_word, starts};

/// The top-level modules of each floor, lowest first. A module names modules on its own floor or below.
const FLOORS: [&[&str]; 6] = [
    &["error", "settings", "limits", "backoff", "event", "join", "watched", "runtime", "catch", "named_file"],
    &["sys"],
    &["process", "probe", "ledger", "aside", "http", "invocation"],
    &["session", "leak"],
    &["tracker", "server"],
    &["harness", "keeper", "report", "testing"],
];
const TABLE: &str = "FLOORS in tests/tidy/rules.rs";
const MAX_LINES: usize = 500;
const MAX_ROOT_NAMES: usize = 20;

fn modules(files: &[File]) -> BTreeSet<Vec<&str>> {
    files.iter().filter_map(File::module).collect()
}

/// A module names modules on its own floor or below. `lib.rs` and the command line stand above all of them.
pub(crate) fn floors(files: &[File]) -> Vec<String> {
    let floor_of = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let modules = modules(files);
    let mut complaints = Vec::new();
    for file in files {
        let Some(&own) = file.module().as_ref().and_then(|module| module.first()) else { continue };
        let Some(floor) = floor_of(own) else {
            complaints.push(file.complaint(0, "floors", &format!("`{own}` has no floor; add it to {TABLE}")));
            continue;
        };
        for mention in file.mentions() {
            let Some(path) = file.resolve(mention, &modules) else { continue };
            let name = path.first().map_or("crate", String::as_str);
            let what = match floor_of(name) {
                Some(other) if other <= floor => continue,
                Some(other) => format!(
                    "`{own}` (floor {floor}) names `{name}` (floor {other}), which is higher; move what needs it up"
                ),
                None => {
                    format!("`{name}` is no module with a floor; name the module that defines it, or add it to {TABLE}")
                }
            };
            complaints.push(file.complaint(mention.at, "floors", &what));
        }
    }
    complaints
}

/// No two modules side by side name each other, directly or by way of others. Modules named `tests` may.
pub(crate) fn cycles(files: &[File]) -> Vec<String> {
    let modules = modules(files);
    let mut named: BTreeMap<Vec<String>, BTreeMap<Vec<String>, String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.module().is_some_and(|module| !module.contains(&"tests"))) {
        for mention in file.mentions() {
            let (Some(own), Some(other)) = (file.module(), file.resolve(mention, &modules)) else { continue };
            let shared = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
            if shared < own.len() && shared < other.len() && !file.inline_modules(mention.at).contains(&"tests") {
                let own = own[..=shared].iter().map(|name| (*name).into()).collect();
                let place = file.complaint(mention.at, "cycles", "");
                named.entry(own).or_default().entry(other[..=shared].to_vec()).or_insert(place);
            }
        }
    }
    let mut complaints = Vec::new();
    for (own, others) in &named {
        for (other, place) in others {
            let (mut seen, mut open) = (BTreeSet::new(), vec![other]);
            while let Some(module) = open.pop() {
                if seen.insert(module) {
                    open.extend(named.get(module).into_iter().flat_map(BTreeMap::keys));
                }
            }
            if seen.contains(own) {
                let (own, other) = (own.join("::"), other.join("::"));
                complaints.push(format!(
                    "{place}`{own}` names `{other}`, which names it in turn; move what both need into a third module"
                ));
            }
        }
    }
    complaints
}

/// A folder is a facade, whose `mod.rs` names its children and is not named by them, or a trait folder, whose `mod.rs`
/// is named by its children and does not name them.
///
/// `mod x;` and `pub use x::…` are not naming. In either kind of folder a child names a sibling by its path, never
/// through a re-export of `mod.rs`: what it may name of `mod.rs` is only what is defined there.
/// Modules named `tests` are free.
pub(crate) fn folders(files: &[File]) -> Vec<String> {
    let modules = modules(files);
    let mut complaints = Vec::new();
    for front in files.iter().filter(|file| file.path.ends_with("/mod.rs")) {
        let Some(folder) = front.module() else { continue };
        let below = |file: &File, mention: &Mention| {
            let free = file.module()?.contains(&"tests") || file.inline_modules(mention.at).contains(&"tests");
            let path = file.resolve(mention, &modules).filter(|path| !free && starts(path, &folder))?;
            let next = path.get(folder.len()).map_or("self", String::as_str).to_string();
            let is_child =
                modules.contains(folder.iter().copied().chain([next.as_str()]).collect::<Vec<_>>().as_slice());
            Some((next, is_child))
        };
        let names_child =
            |mention: &&Mention| !mention.is_reexport && below(front, mention).is_some_and(|(_, is_child)| is_child);
        let down = front.mentions().iter().find(names_child);
        let kinds = ["struct", "enum", "trait", "fn", "type", "const", "static", "union"];
        let items: BTreeSet<&str> = kinds
            .iter()
            .flat_map(|kind| front.words(kind).into_iter().map(|at| first_word(&front.code[at + kind.len()..])))
            .collect();
        let children =
            files.iter().filter(|file| file.module().is_some_and(|m| m.len() > folder.len() && starts(&m, &folder)));
        for (child, mention) in children.flat_map(|child| child.mentions().iter().map(move |mention| (child, mention)))
        {
            let Some((name, false)) = below(child, mention) else { continue };
            let what = match (items.contains(name.as_str()), down) {
                (true, None) => continue,
                (true, Some(down)) => format!(
                    "`{name}` is defined in {}, which names its children (`{}`); move one of the two into a child",
                    front.path,
                    down.segments.join("::")
                ),
                (false, _) => format!("`{name}` is not defined in {}; name the module that defines it", front.path),
            };
            complaints.push(child.complaint(mention.at, "folders", &what));
        }
    }
    complaints
}

/// Header, length, no notes to oneself, no code that is commented out.
pub(crate) fn form(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    if !file.text.starts_with("//!") {
        complaints.push(file.complaint(0, "header", "does not begin with `//!`; say what the file is for"));
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        complaints.push(file.complaint(0, "length", &format!("{lines} lines, at most {MAX_LINES}; split it by duty")));
    }
    for (text, mark) in [
        (&file.comments, "TODO"),
        (&file.comments, "FIXME"),
        (&file.code, "todo!("),
        (&file.code, "unimplemented!("),
        (&file.code, "dbg!("),
    ] {
        let marks = text.match_indices(mark);
        complaints
            .extend(marks.map(|(at, _)| file.complaint(at, "unfinished", &format!("`{mark}`; do it, or take it out"))));
    }
    for (line, comment) in file.comments.match_indices("//") {
        let comment = file.comments[line + comment.len()..].lines().next().unwrap_or_default().trim();
        let starts_line = file.text[..line].rsplit('\n').next().is_some_and(|before| before.trim().is_empty());
        if starts_line && is_code(comment) {
            let what = format!("`{comment}`; take it out, or write a sentence");
            complaints.push(file.complaint(line, "commented-out code", &what));
        }
    }
    complaints
}

/// Whether the text of a `//` comment reads like a statement or the head of a block. Doc comments never do.
fn is_code(comment: &str) -> bool {
    let calls =
        comment.match_indices('(').any(|(at, _)| comment[..at].ends_with(|c: char| c == '!' || c.is_alphanumeric()));
    let starts = ["let", "use", "pub", "mod", "return", "break", "continue"].contains(&first_word(comment));
    let is_statement = comment.ends_with(';') && (calls || starts || comment.contains(" = ") || comment.contains("::"));
    !comment.starts_with(['/', '!']) && (comment.ends_with('{') || is_statement)
}

/// What only certain files may do. Tests may be for one operating system: `cfg(all(test, …))`.
pub(crate) fn places(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    let printers = ["src/event/", "src/report/console.rs", "src/harness/relay.rs", "src/bin/"];
    let mut only = |places: &[&str], at: usize, what: &str, advice: &str| {
        if !file.is_in(places) {
            complaints.push(file.complaint(at, "place", &format!("{what} only in {}; {advice}", places.join(", "))));
        }
    };
    for at in file.words("unsafe") {
        only(&["src/sys/"], at, "`unsafe`", "wrap the call in a safe function there");
    }
    for at in ["cfg", "cfg_attr"].into_iter().flat_map(|word| file.words(word)) {
        let Some(open) = file.code[at..].find('(').map(|open| at + open) else { continue };
        let condition = &file.code[open..closing(&file.code, open)];
        let is_for_tests = condition.starts_with("(all(test,");
        let mut words = condition.split(|c: char| !c.is_ascii() || !is_word(c as u8));
        let systems = ["target_os", "target_family", "target_env", "target_vendor", "unix", "windows"];
        if !is_for_tests && words.any(|word| systems.contains(&word)) {
            let advice = "give both systems a function of one name there, and call that";
            only(&["src/sys/", "src/session/pty.rs"], at, "a `cfg` that names an operating system", advice);
        }
    }
    for mark in ["println!", "eprintln!", "print!", "eprint!"] {
        for at in file.words(mark) {
            only(&printers, at, &format!("`{mark}`"), "send an event");
        }
    }
    for mention in file.mentions() {
        let Some([parent, name]) = mention.segments.last_chunk::<2>() else { continue };
        let rest = &file.text[mention.end..];
        match (parent.as_str(), name.as_str()) {
            ("thread" | "libc", "sleep" | "sleep_ms" | "sleep_until" | "nanosleep" | "usleep") => {
                only(&["src/backoff.rs"], mention.at, "sleeping", "wait for the thing itself, or use a back-off");
            }
            ("env", "var" | "var_os") if !rest.starts_with("(\"") || rest.starts_with("(\"TERMLEASH") => {
                only(&["src/settings.rs"], mention.at, "reading our variables", "add a setting and ask for that");
            }
            ("env", "vars" | "vars_os") => {
                let places = ["src/settings.rs", "src/session/", "src/sys/"];
                only(&places, mention.at, "the whole environment", "ask for what you need");
            }
            ("io", "stdout" | "stderr") => {
                only(&printers, mention.at, "standard output", "send an event");
            }
            _ => {}
        }
    }
    complaints
}

/// The names that a user finds at the crate root.
pub(crate) fn root_names(files: &[File]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files {
        let after = |at: usize, word: &str| first_word(&file.code[at + word.len()..]).to_string();
        for at in file.words("macro_export") {
            names.extend(
                file.words("macro_rules!").into_iter().find(|rules| *rules > at).map(|at| after(at, "macro_rules!")),
            );
        }
        if file.path != "src/lib.rs" {
            continue;
        }
        for kind in ["mod", "fn", "struct", "enum", "union", "trait", "type", "const", "static"] {
            for at in file.words(kind) {
                let head = file.code[..at].rsplit([';', '}', '{', ']']).next().unwrap_or_default();
                let is_public = head.split_whitespace().any(|word| word == "pub") && file.inline_modules(at).is_empty();
                let name = after(at, kind);
                if is_public && name != "fn" {
                    names.insert(name);
                }
            }
        }
        let public = file.mentions().iter().filter(|m| m.is_public && file.inline_modules(m.at).is_empty());
        names.extend(public.map(|mention| mention.name.clone()));
    }
    names
}

pub(crate) fn root(files: &[File]) -> Vec<String> {
    let names = root_names(files);
    let list = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let (count, has_glob) = (names.len(), names.contains("*"));
    if count <= MAX_ROOT_NAMES && !has_glob {
        return Vec::new();
    }
    let what = "names, and no glob, may stand at the crate root; move some into a module";
    vec![format!("src/lib.rs:1: root: at most {MAX_ROOT_NAMES} {what}; now {count}: {list}")]
}

/// The changelog begins with the version that the manifest names, its date, and a paragraph that says what it is.
pub(crate) fn changelog(file: &File, version: &str) -> Vec<String> {
    let mut lines =
        file.text.lines().filter(|line| !line.trim().is_empty()).skip_while(|line| !line.starts_with("## "));
    let is_date = |date: &str| {
        date.len() == 10
            && date.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
    };
    let heading = lines.next().and_then(|line| line.strip_prefix(&format!("## {version} - ")));
    if heading.is_some_and(is_date) && lines.next().is_some_and(|line| line.starts_with("This release ")) {
        return Vec::new();
    }
    let what =
        format!("does not begin with `## {version} - YYYY-MM-DD` and a paragraph `This release …`; write that entry");
    vec![file.complaint(0, "changelog", &what)]
}

/// No paths of somebody's machine and no addresses of package registries: neither is true anywhere else.
pub(crate) fn addresses(file: &File) -> Vec<String> {
    let marks =
        ["/ro|ot/", "/wo|rk/", "/ho|me/", "crate|s.io", "pyp|i.org", "npmj|s.org", "npmj|s.com", "deb.deb|ian.org"];
    let mut complaints = Vec::new();
    for mark in marks.map(|mark| mark.replace('|', "")) {
        for (at, _) in file.text.match_indices(&mark) {
            let before = file.text[..at].chars().next_back();
            let continues =
                mark.starts_with('/') && before.is_some_and(|c| c.is_alphanumeric() || "_.>}])~-*".contains(c));
            if !continues {
                let what = format!("`{mark}`; compute the path or leave the address to the tool that knows it");
                complaints.push(file.complaint(at, "address", &what));
            }
        }
    }
    complaints
}

/// The distinct crates that `cargo tree --prefix none` lists.
pub(crate) fn crates(tree: &str) -> BTreeSet<(&str, &str)> {
    tree.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap_or(rest)))
        .collect()
}
