//! How a session is ended once the test process that knew its backend is dead.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a keeper, or a later run, can do about a session by its id alone, without the backend's code.
///
/// Never a secret itself, which would outlive the run in a file: only the name of the environment variable that holds it,
/// to be read by whoever follows the recipe. A `url`, argument or header must not contain one either.
///
/// `{server}` stands for the process id of the server that has made the session, and `{id}` for the server's id of it. It was read from a file, so it must pass the same check as one that
/// a server gave before it is put there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum Recipe {
    /// The test process itself spawned it, so nothing can be born of it after that process's death: its processes are all
    /// there is.
    Own,
    /// A request to the server.
    Http {
        url: String,
        method: String,
        /// The header that authorizes the request, `Name: value`, with `{secret}` in place of the secret.
        auth_header: Option<String>,
        secret_variable: Option<String>,
    },
    /// A program that talks to the server.
    Command {
        program: String,
        arguments: Vec<String>,
        /// Handed on to the program in its environment.
        secret_variable: Option<String>,
        /// What an id begins with, before digits and nothing else; any id if it is not said.
        #[serde(default)]
        id_prefix: Option<String>,
        /// What a program prints that fails because the session, or its whole server, is not there any more.
        #[serde(default)]
        gone_texts: Vec<String>,
        /// What a program prints that has found another session than was meant.
        #[serde(default)]
        refused_text: Option<String>,
        /// Where the program looks for the id, beside its arguments or instead.
        #[serde(default)]
        id_variable: Option<String>,
        /// What the program must not see: it may be led to another server by that.
        #[serde(default)]
        removed_variables: Vec<String>,
    },
    /// A user's own backend: its code died with the test process. The report says what could not be done.
    Unknown { backend: String },
}

impl Recipe {
    /// Whether what is done is about one session. What is told no id may end them all, or the newest one.
    pub(crate) fn names_its_session(&self) -> bool {
        const ID: &str = "{id}";
        match self {
            Self::Own | Self::Unknown { .. } => true,
            Self::Http { url, .. } => url.contains(ID),
            Self::Command { arguments, id_variable, .. } => {
                id_variable.is_some() || arguments.iter().any(|argument| argument.contains(ID))
            }
        }
    }
}

/// In words, for a report: it completes "the session is ended by …".
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = match self {
            Self::Own => return f.write_str("its own processes: the test process itself had started it"),
            Self::Unknown { backend } => {
                let backend = backend.escape_debug();
                return write!(f, "its backend `{backend}` alone, whose code died with the test process");
            }
            Self::Http { url, method, secret_variable, .. } => {
                write!(f, "a request to its server, `{} {}`", method.escape_debug(), url.escape_debug())?;
                secret_variable
            }
            Self::Command { program, arguments, secret_variable, .. } => {
                write!(f, "a command, `{}", program.escape_debug())?;
                for argument in arguments {
                    write!(f, " {}", argument.escape_debug())?;
                }
                f.write_str("`")?;
                secret_variable
            }
        };
        match secret {
            Some(variable) => write!(f, ", with the secret that the variable {} holds", variable.escape_debug()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_in_words_what_it_is() {
        let own = Recipe::Own.to_string();
        assert_eq!(own, "its own processes: the test process itself had started it");
        let http = Recipe::Http {
            url: "http://127.0.0.1:4020/api/sessions/{id}".into(),
            method: "DELETE".into(),
            auth_header: Some("Authorization: Bearer {secret}".into()),
            secret_variable: Some("SERVER_TOKEN".into()),
        };
        assert_eq!(
            http.to_string(),
            "a request to its server, `DELETE http://127.0.0.1:4020/api/sessions/{id}`, with the secret that the \
             variable SERVER_TOKEN holds"
        );
        let arguments = ["kill-session", "-t", "{id}"].map(String::from).to_vec();
        let command = Recipe::Command {
            program: "tmux".into(),
            arguments,
            secret_variable: None,
            id_prefix: None,
            gone_texts: Vec::new(),
            refused_text: None,
            id_variable: None,
            removed_variables: Vec::new(),
        };
        assert_eq!(command.to_string(), "a command, `tmux kill-session -t {id}`");
        let unknown = Recipe::Unknown { backend: "My\u{1b}Backend".into() }.to_string();
        assert_eq!(unknown, "its backend `My\\u{1b}Backend` alone, whose code died with the test process");
    }
}
