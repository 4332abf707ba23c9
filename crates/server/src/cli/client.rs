//! The command line as a client of a server.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Context;
use super::output::{Stop, plain};
use crate::config;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(70);

/// Which credential a request carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum As {
    /// `LAUNCHKIT_API_KEY`
    Caller,
    /// `LAUNCHKIT_TOKEN`
    Operator,
}

/// A connection to one server.
pub(super) struct Client {
    http: reqwest::Client,
    config: config::Client,
}

impl Client {
    /// A client as the settings say.
    pub(super) fn from_context(context: &Context) -> Result<Client, Stop> {
        Client::new(config::Client::from_settings(&context.settings)?)
    }

    /// A client of this server.
    pub(super) fn new(config: config::Client) -> Result<Client, Stop> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none());
        let url = Url::parse(&config.url).map_err(|_| Stop::Usage("LAUNCHKIT_URL is not an address".to_owned()))?;
        if url.scheme() == "http" {
            // Without TLS no certificates are needed, and a bare system has none to load.
            builder = builder.tls_certs_only([]);
        }
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Stop::Failed(format!("cannot make an HTTP client: {error}")))?;
        Ok(Client { http, config })
    }

    /// Sends a request and answers the JSON of a good response.
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&Value>, who: As) -> Result<Value, Stop> {
        let mut request = self.http.request(method, format!("{}{path}", self.config.url));
        request = request.bearer_auth(self.credential(who)?.expose_secret());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() { Ok(value) } else { Err(refused(status, &value)) }
    }

    /// Reads a path.
    pub(super) async fn get(&self, path: &str, who: As) -> Result<Value, Stop> {
        self.send(Method::GET, path, None, who).await
    }

    /// Posts to a path.
    pub(super) async fn post(&self, path: &str, body: Option<&Value>, who: As) -> Result<Value, Stop> {
        self.send(Method::POST, path, body, who).await
    }

    fn credential(&self, who: As) -> Result<&SecretString, Stop> {
        match who {
            As::Caller => self.config.api_key.as_ref().ok_or_else(|| {
                Stop::Usage("LAUNCHKIT_API_KEY is not set; make a key with: launchkit keys create".to_owned())
            }),
            As::Operator => self.config.token.as_ref().ok_or_else(|| {
                Stop::Usage(
                    "LAUNCHKIT_TOKEN is not set; make a token with: launchkit token create --role operator".to_owned(),
                )
            }),
        }
    }

    /// Only the innermost reason is told: it names neither headers nor credentials.
    fn unreachable(&self, error: &reqwest::Error) -> Stop {
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        Stop::Unreachable(format!("cannot reach {}: {reason}", self.config.url))
    }
}

/// A value as one segment of a path or one part of a query.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn refused(status: StatusCode, problem: &Value) -> Stop {
    let detail = match plain(&problem["detail"]) {
        detail if detail.is_empty() => format!("the server answered {status}"),
        detail => detail,
    };
    let faults = problem["errors"].as_array().into_iter().flatten().map(|fault| {
        let place = if fault["pointer"].is_string() { &fault["pointer"] } else { &fault["parameter"] };
        format!("\n  {}: {}", plain(place), plain(&fault["message"]))
    });
    Stop::Failed(format!("{detail} ({}, {}){}", plain(&problem["code"]), status.as_u16(), faults.collect::<String>()))
}
