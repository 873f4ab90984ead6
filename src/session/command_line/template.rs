//! Arguments with holes, filled: a value stays inside of its argument, whatever it contains.

use crate::error::Error;
use std::ffi::OsString;

/// The holes that stand inside of an argument.
const HOLES: [&str; 7] = ["id", "server", "cookie", "directory", "name", "cols", "rows"];

/// What the holes are filled with.
#[derive(Default)]
pub(crate) struct Values {
    /// What stands inside of an argument, by name.
    pub(crate) texts: Vec<(&'static str, OsString)>,
    /// What becomes several arguments, by name.
    pub(crate) splices: Vec<(&'static str, Vec<OsString>)>,
}

impl Values {
    pub(crate) fn text(&self, name: &str) -> Option<&OsString> {
        self.texts.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// # Errors
    ///
    /// If there is no value for a hole.
    pub(crate) fn fill(&self, template: &[String]) -> Result<Vec<OsString>, Error> {
        let mut arguments = Vec::new();
        for argument in template {
            match self.splices.iter().find(|(name, _)| *argument == hole(name)) {
                Some((_, words)) => arguments.extend(words.iter().cloned()),
                None => arguments.push(self.fill_one(argument)?),
            }
        }
        Ok(arguments)
    }

    /// One pass from left to right, so that nothing in a value is a hole in turn.
    fn fill_one(&self, template: &str) -> Result<OsString, Error> {
        let mut filled = OsString::new();
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let (before, from_brace) = rest.split_at(at);
            filled.push(before);
            if let Some(name) = HOLES.iter().find(|name| from_brace.starts_with(&hole(name))) {
                filled.push(self.text(name).ok_or_else(|| {
                    Error::invalid(format!("the argument {template:?} has a `{{{name}}}`, which is not known here"))
                })?);
                rest = &from_brace[name.len() + 2..];
            } else {
                // A brace of the client's own language.
                filled.push("{");
                rest = &from_brace[1..];
            }
        }
        filled.push(rest);
        Ok(filled)
    }
}

fn hole(name: &str) -> String {
    format!("{{{name}}}")
}

/// True if any of them has this hole.
pub(crate) fn has(template: &[String], name: &str) -> bool {
    template.iter().any(|argument| argument.contains(&hole(name)))
}

/// For a client that takes a word ending in `;` for the end of a command.
pub(crate) fn escape_semicolon(word: OsString) -> OsString {
    // A word that is no text goes as it is: it cannot be cut here.
    match word.to_str().and_then(|text| text.strip_suffix(';')) {
        Some(text) => format!("{text}\\;").into(),
        None => word,
    }
}

/// For a client that takes `#{…}` and `#(…)` in a text for a format of its own, and runs what the latter says in a shell.
/// Signs directly before a `[` it leaves as they are.
///
/// # Errors
///
/// If the text has such a sign and is no UTF-8, so that it cannot be taken apart here.
pub(crate) fn escape_format(text: OsString) -> Result<OsString, Error> {
    if !text.as_encoded_bytes().contains(&b'#') {
        return Ok(text);
    }
    let Some(mut rest) = text.to_str() else {
        return Err(Error::invalid(format!(
            "{text:?} has a `#` and is no UTF-8: this client would take it for a format"
        )));
    };
    let mut escaped = String::new();
    while let Some(at) = rest.find('#') {
        escaped.push_str(&rest[..at]);
        let signs = &rest[at..][..rest[at..].bytes().take_while(|byte| *byte == b'#').count()];
        rest = &rest[at + signs.len()..];
        escaped.push_str(signs);
        if !rest.starts_with('[') {
            escaped.push_str(signs);
        }
    }
    escaped.push_str(rest);
    Ok(escaped.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let command = ["sh", "-c", "echo {id} $HOME; rm {directory}"].map(OsString::from).to_vec();
        Values {
            texts: vec![
                ("id", "$1".into()),
                ("server", "7".into()),
                ("directory", "/a b/{id}".into()),
                ("name", "x; y".into()),
            ],
            splices: vec![("command", command), ("environment", vec![])],
        }
    }

    fn filled(template: &[&str]) -> Vec<String> {
        let template: Vec<String> = template.iter().map(|word| (*word).into()).collect();
        values().fill(&template).unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn a_value_stays_inside_of_its_argument_and_is_no_template() {
        let words = filled(&["-c", "{directory}", "--name={name}", "kill '{id}' {id}", "{environment}", "{command}"]);
        let command = ["sh", "-c", "echo {id} $HOME; rm {directory}"];
        let expected = [["-c", "/a b/{id}", "--name=x; y", "kill '$1' $1"].as_slice(), &command].concat();
        assert_eq!(words, expected);
    }

    #[test]
    fn braces_of_the_clients_own_language_stay() {
        let own = ["#{==:#{pid},{server}}", "{", "{}", "{command} x"];
        assert_eq!(filled(&own), ["#{==:#{pid},7}", "{", "{}", "{command} x"]);
    }

    #[test]
    fn a_hole_without_a_value_is_an_error() {
        let error = values().fill(&["{cookie}".into()]).unwrap_err();
        assert!(error.to_string().contains("`{cookie}`"), "{error}");
    }

    #[test]
    fn a_last_semicolon_ends_no_command() {
        for (word, escaped) in [(";", "\\;"), ("a;", "a\\;"), ("a;b", "a;b"), ("", "")] {
            assert_eq!(escape_semicolon(word.into()), escaped);
        }
    }

    #[test]
    fn a_sign_of_a_format_is_doubled_but_before_a_bracket() {
        for (text, escaped) in [
            ("#(id)", "##(id)"),
            ("a#{pid}##b#", "a##{pid}####b##"),
            ("#[x]##[y]", "#[x]##[y]"),
            ("100%", "100%"),
            ("", ""),
        ] {
            assert_eq!(escape_format(text.into()).unwrap(), escaped);
        }
    }
}
