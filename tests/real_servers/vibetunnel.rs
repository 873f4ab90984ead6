//! VibeTunnel on a port and a home of its own, as a person uses it by its web interface.

use crate::trials::patience::PATIENCE;
use crate::trials::real::installed;
use crate::trials::web::ask;
use serde_json::{Value, json};
use std::path::PathBuf;
use termleash::server::{Server, ServerGuard, ServerSpec};
use termleash::session::{BoxError, HttpBackend};
use termleash::testing::Scope;

const VERSION: &str = "1.0.0-beta.15.1";

pub(crate) struct VibeTunnel {
    server: Option<Server>,
    url: String,
}

impl VibeTunnel {
    pub(crate) fn program() -> PathBuf {
        installed().join(format!("vibetunnel-{VERSION}/node_modules/vibetunnel/dist/vibetunnel-cli"))
    }

    /// With these arguments for Node.js.
    pub(crate) fn spec(node: &[&str]) -> ServerSpec {
        let spec = ServerGuard::command("node").args(node.iter().copied()).arg(Self::program());
        let spec = spec.args(["--bind", "127.0.0.1", "--no-auth", "--no-mdns", "--push-disabled"]);
        // Shells of its sessions read no settings of whoever runs the tests.
        spec.env("SHELL", "/bin/sh").env_remove("ENV")
    }

    pub(crate) async fn start(t: &Scope) -> Result<Self, BoxError> {
        Self::start_with(t, &[]).await
    }

    pub(crate) async fn start_with(t: &Scope, node: &[&str]) -> Result<Self, BoxError> {
        let server = t.server(Self::spec(node).port_flag("--port").ready_http("/api/health")).await?;
        Ok(Self { url: server.url(), server: Some(server) })
    }

    pub(crate) fn at(url: &str) -> Self {
        Self { server: None, url: url.into() }
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn backend(&self) -> HttpBackend {
        // With twenty shells it does not answer for seconds on a busy machine: it runs `ps` twice a second for each.
        HttpBackend::vibetunnel(&self.url).timeout(PATIENCE)
    }

    pub(crate) fn make(&self, name: &str, command: &[&str]) -> String {
        let body = json!({"command": command, "workingDir": "/tmp", "name": name, "cols": 80, "rows": 24, "titleMode": "none"});
        let (status, answer) = ask(&self.url, "POST", "/api/sessions", Some(&body));
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).expect("JSON")["sessionId"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn leader(&self, id: &str) -> Option<u32> {
        let (status, answer) = ask(&self.url, "GET", &format!("/api/sessions/{id}"), None);
        let answer: Value = serde_json::from_str(&answer).ok().filter(|_| status == 200)?;
        (answer["status"] == "running").then(|| answer["pid"].as_u64()?.try_into().ok())?
    }

    /// Every record that it has, of whoever's sessions.
    pub(crate) fn records(&self) -> Vec<String> {
        let (_, answer) = ask(&self.url, "GET", "/api/sessions", None);
        let all: Value = serde_json::from_str(&answer).expect("JSON");
        all.as_array().expect("a list").iter().filter_map(|one| Some(one["id"].as_str()?.to_owned())).collect()
    }

    pub(crate) fn type_line(&self, id: &str, line: &str) {
        let text = json!({"text": format!("{line}\r")});
        ask(&self.url, "POST", &format!("/api/sessions/{id}/input"), Some(&text));
    }

    pub(crate) fn text(&self, id: &str) -> String {
        ask(&self.url, "GET", &format!("/api/sessions/{id}/text"), None).1
    }

    pub(crate) fn end(&self, id: &str) {
        ask(&self.url, "DELETE", &format!("/api/sessions/{id}"), None);
    }
}
