//! Rust source as the rules see it: code apart from comments and literals, and the paths that the code names.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// A path that the code names, such as `crate::sys::{self as os}`: its segments and the name that it brings into scope.
#[derive(Clone)]
pub(crate) struct Mention {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) segments: Vec<String>,
    pub(crate) name: String,
    /// Imported by `pub use`, or by `pub(…) use`.
    pub(crate) is_reexport: bool,
    /// Imported by `pub use`.
    pub(crate) is_public: bool,
}

#[derive(Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
    pub(crate) comments: String,
    /// Found once for all copies.
    mentions: Arc<OnceLock<Vec<Mention>>>,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> File {
        let (code, comments) = if path.ends_with(".rs") { split(text) } else { Default::default() };
        File { path: path.into(), text: text.into(), code, comments, mentions: Arc::default() }
    }

    /// Looked for when they are asked for: most rules need none.
    pub(crate) fn mentions(&self) -> &[Mention] {
        self.mentions.get_or_init(|| mentions(&self.code))
    }

    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }

    pub(crate) fn complaint(&self, at: usize, rule: &str, what: &str) -> String {
        format!("{}:{}: {rule}: {what}", self.path, 1 + self.text[..at].matches('\n').count())
    }

    /// Where the file stands below `crate`; none for what is no part of the library. `rule_tests.rs` is `rule::tests`.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let mut module: Vec<_> = self.path.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').collect();
        if matches!(module[0], "bin" | "main") {
            return None;
        }
        module.pop_if(|last| matches!(*last, "mod" | "lib"));
        if let Some(tested) = module.last().and_then(|last| last.strip_suffix("_tests")) {
            module.splice(module.len() - 1.., [tested, "tests"]);
        }
        Some(module)
    }

    /// The offsets at which `word` stands in the code as a whole word.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| is_word(*byte));
        let bytes = self.code.as_bytes();
        let found = self.code.match_indices(word).map(|(at, _)| at);
        found.filter(|at| !is_part(bytes[..*at].last()) && !is_part(bytes.get(at + word.len()))).collect()
    }

    /// The modules written out in this file around an offset, outermost first.
    pub(crate) fn inline_modules(&self, at: usize) -> Vec<&str> {
        let heads = self.words("mod").into_iter().filter(|head| *head < at).filter_map(|head| {
            let name = first_word(&self.code[head + 3..]);
            let body =
                self.code[head..].find(['{', ';']).filter(|body| self.code[head + body..].starts_with('{'))? + head;
            (body..closing(&self.code, body)).contains(&at).then_some(name)
        });
        heads.collect()
    }

    /// The path from the crate root, if it leads into this crate.
    pub(crate) fn resolve(&self, path: &Mention, modules: &BTreeSet<Vec<&str>>) -> Option<Vec<String>> {
        let mut base: Vec<String> = self.module()?.into_iter().map(String::from).collect();
        let root = path.segments[0].as_str();
        let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
        let mut rest = path.segments.as_slice();
        if root == "crate" {
            (base, rest) = (Vec::new(), &rest[1..]);
        } else if root == "self" || supers > 0 {
            base.extend(self.inline_modules(path.at).into_iter().map(String::from));
            base.truncate(base.len().saturating_sub(supers));
            rest = &rest[supers.max(1)..];
        } else if !modules.contains(base.iter().map(String::as_str).chain([root]).collect::<Vec<_>>().as_slice()) {
            return None;
        }
        base.extend(rest.iter().filter(|segment| *segment != "self").cloned());
        Some(base)
    }
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(crate) fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len())]
}

pub(crate) fn starts<T: PartialEq<U>, U>(long: &[T], short: &[U]) -> bool {
    long.len() >= short.len() && long.iter().zip(short).all(|(a, b)| a == b)
}

/// The offset of the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        depth += i32::from(b"([{".contains(&byte)) - i32::from(b")]}".contains(&byte));
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// Splits Rust source into its code and its comments: two texts with the offsets of the source, all else blank.
fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
        let hashes = rest[first.len_utf8()..].bytes().take_while(|byte| *byte == b'#').count();
        let raw = first == 'r' && rest[1 + hashes..].starts_with('"');
        let char_end = rest.char_indices().nth(2).filter(|(_, third)| *third == '\'').map(|(at, _)| at + 1);
        let (length, is_comment) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), true),
            '/' if rest.starts_with("/*") => (block_comment(rest), true),
            'r' if raw => (after(2 + hashes, &format!("\"{}", "#".repeat(hashes))), false),
            '"' => (quoted(rest), false),
            '\'' if rest.starts_with("'\\") => (after(3, "'"), false),
            '\'' if char_end.is_some() => (char_end.unwrap_or(1), false),
            _ => (first.len_utf8(), false),
        };
        let is_literal = length > 1 && !is_comment && first.is_ascii();
        for (at, byte) in rest.bytes().take(length).enumerate() {
            let is_edge = at == 0 || at + 1 == length;
            let shown = if byte == b'\n' || byte.is_ascii() { char::from(byte) } else { ' ' };
            let blank = if byte == b'\n' { '\n' } else { ' ' };
            code.push(if is_comment || is_literal && !is_edge { blank } else { shown });
            comments.push(if is_comment { shown } else { blank });
        }
        rest = &rest[length..];
    }
    (code, comments)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    loop {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) => at += 1,
            None => return text.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

fn quoted(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every path of two segments or more, and every import, groups written out.
fn mentions(code: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let word = first_word(&code[at..at + code[at..].find(|c: char| c.is_whitespace()).unwrap_or(code.len() - at)]);
        let before = code[..at].trim_end();
        if word.is_empty() || before.ends_with("::") || code[..at].bytes().last().is_some_and(is_word) {
            at += 1;
            continue;
        }
        let is_import = before.ends_with("use") && !before[..before.len() - 3].bytes().last().is_some_and(is_word);
        let visibility = before.strip_suffix("use").unwrap_or_default().trim_end();
        let is_public = is_import && visibility.ends_with("pub");
        let is_reexport = is_public || is_import && visibility.ends_with(')');
        if is_import || code[at + word.len()..].starts_with("::") {
            let path = Mention { at, end: at, segments: Vec::new(), name: String::new(), is_reexport, is_public };
            at = path_tree(code, at, path, &mut found).max(at + 1);
        } else {
            at += word.len();
        }
    }
    found
}

/// Reads one path or group that begins at `at` and continues `path`; answers where it ends.
fn path_tree(code: &str, mut at: usize, mut path: Mention, found: &mut Vec<Mention>) -> usize {
    let skip_blanks = |at: usize| code.len() - code[at..].trim_start().len();
    at = skip_blanks(at);
    if code[at..].starts_with('{') {
        let end = closing(code, at);
        at = skip_blanks(at + 1);
        while at < end {
            let next = path_tree(code, at, path.clone(), found);
            at = skip_blanks(next.max(at + usize::from(next == at)));
            at = skip_blanks(at + usize::from(code[at..].starts_with(',')));
        }
        return end + 1;
    }
    let word = if code[at..].starts_with('*') { "*" } else { first_word(&code[at..]) };
    if path.segments.is_empty() || !word.is_empty() {
        path.at = at;
    }
    if !word.is_empty() {
        path.segments.push(word.into());
        at += word.len();
        if code[at..].starts_with("::") {
            return path_tree(code, at + 2, path, found);
        }
    }
    path.end = at;
    path.name = path.segments.iter().rfind(|segment| *segment != "self").cloned().unwrap_or_default();
    if let Some(alias) = code[at..].trim_start().strip_prefix("as ") {
        path.name = first_word(alias).into();
        at = code.len() - alias.len() + path.name.len();
    }
    found.push(path);
    at
}
