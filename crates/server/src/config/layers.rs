//! Where settings come from: flags over environment over `.env` over `launchkit.toml`.
//!
//! This room only collects text with its origin; what a value means is decided in `config`.
//! Nothing here changes the process's own environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Files larger than this are not settings.
const MOST_BYTES: u64 = 256 * 1024;

/// One variable that LaunchKit knows.
#[derive(Debug)]
pub struct Variable {
    /// Its name in the environment.
    pub name: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Whether this version acts on it.
    pub used: bool,
}

const fn plain(name: &'static str) -> Variable {
    Variable { name, secret: false, used: true }
}
const fn secret(name: &'static str) -> Variable {
    Variable { name, secret: true, used: true }
}
const fn later(name: &'static str) -> Variable {
    Variable { name, secret: true, used: false }
}

/// Every variable of the contract, in the order in which `doctor` shows them.
pub const VARIABLES: &[Variable] = &[
    plain("LAUNCHKIT_ENV"),
    plain("LAUNCHKIT_CONFIG"),
    plain("LAUNCHKIT_DATA_DIR"),
    plain("LAUNCHKIT_STORE"),
    // May hold a password, as DATABASE_URL may.
    secret("REDIS_URL"),
    plain("REDIS_HOST"),
    plain("REDIS_PORT"),
    plain("REDIS_USERNAME"),
    secret("REDIS_PASSWORD"),
    plain("REDIS_DB"),
    plain("REDIS_TLS_CA"),
    plain("REDIS_TLS_CERT"),
    plain("REDIS_TLS_KEY"),
    plain("QUEUE_PREFIX"),
    plain("REDIS_PREFIX"),
    secret("DATABASE_URL"),
    plain("AUTO_MIGRATE"),
    plain("HOST"),
    plain("PORT"),
    plain("TLS_CERT"),
    plain("TLS_KEY"),
    secret("JWT_SECRET"),
    plain("JWT_JWKS_URL"),
    plain("JWT_ISSUER"),
    plain("JWT_AUDIENCE"),
    secret("LAUNCHKIT_SECRET_KEY"),
    plain("WORKER_CONCURRENCY"),
    plain("LOCK_DURATION"),
    plain("AI_PROVIDER"),
    plain("SHUTDOWN_GRACE"),
    plain("LOG_FORMAT"),
    plain("RUST_LOG"),
    plain("LOG_FILE"),
    plain("LAUNCHKIT_URL"),
    secret("LAUNCHKIT_API_KEY"),
    secret("LAUNCHKIT_TOKEN"),
    later("AI_BASE_URL"),
    later("AI_API_KEY"),
    later("AI_MODEL"),
    later("WEBHOOK_ALLOW_NETS"),
    later("METRICS_TOKEN"),
];

/// Which layer a value was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// The process's environment.
    Environment,
    /// A line of a `.env` file.
    DotEnv(PathBuf),
    /// A key of `launchkit.toml`.
    File(PathBuf),
    /// Made at first start and kept in this file.
    Made(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Environment => f.write_str("environment"),
            Origin::DotEnv(path) | Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Made(path) => write!(f, "made, kept in {}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Why the layers could not be read. Values are never part of the message: they may be secrets.
#[derive(Debug, thiserror::Error)]
pub enum BadLayer {
    /// A file is there and cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line or key of a file is not understood.
    #[error("{path}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line or key, and what is expected.
        what: String,
    },
    /// A variable's value is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    NotText(&'static str),
}

/// The merged text of all layers.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
    /// Things that are probably mistakes and do not stop a start.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Merges flags, the given environment, `.env` in `directory` and `launchkit.toml`.
    ///
    /// Empty values count as unset in every layer.
    pub fn load(
        flags: &[(&'static str, Option<String>)],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Result<Settings, BadLayer> {
        let mut settings = Settings::default();
        for (name, value) in flags {
            if let Some(value) = value {
                settings.offer(name, value, &Origin::Flag);
            }
        }
        for (name, value) in environment {
            let Some(name) = name.to_str() else { continue };
            match (known(name), value.to_str()) {
                (Some(variable), Some(value)) => settings.offer(variable.name, value, &Origin::Environment),
                (Some(variable), None) => return Err(BadLayer::NotText(variable.name)),
                (None, _) => settings.suspect(name, "the environment"),
            }
        }
        settings.read_dotenv(&directory.join(".env"))?;
        settings.read_toml(directory)?;
        Ok(settings)
    }

    /// The value of a variable, when one of the layers has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// Where the value of a variable comes from.
    pub fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn offer(&mut self, name: &str, value: &str, origin: &Origin) {
        if value.is_empty() {
            return;
        }
        let Some(variable) = known(name) else { return };
        if !variable.used {
            self.warnings.push(format!("{name} ({origin}) has no effect in this version"));
        }
        self.values.entry(variable.name).or_insert_with(|| (value.to_owned(), origin.clone()));
    }

    fn suspect(&mut self, name: &str, place: &str) {
        // Only our own prefix: a shell's environment is full of names that are nobody's mistake.
        if name.starts_with("LAUNCHKIT_") && self.warnings.len() < 20 {
            let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
            self.warnings.push(format!("{name} in {place} is not a variable that LaunchKit knows"));
        }
    }

    fn read_dotenv(&mut self, path: &Path) -> Result<(), BadLayer> {
        let Some(text) = read(path)? else { return Ok(()) };
        let malformed = |what| BadLayer::Malformed { path: path.to_owned(), what };
        let origin = Origin::DotEnv(path.to_owned());
        for (name, value) in parse_dotenv(&text).map_err(malformed)? {
            match known(&name) {
                Some(variable) => self.offer(variable.name, &value, &origin),
                None => self.suspect(&name, &path.display().to_string()),
            }
        }
        Ok(())
    }

    fn read_toml(&mut self, directory: &Path) -> Result<(), BadLayer> {
        let named = self.get("LAUNCHKIT_CONFIG").map(|path| directory.join(path));
        let path = named.clone().unwrap_or_else(|| {
            directory.join(self.get("LAUNCHKIT_DATA_DIR").unwrap_or(super::DATA_DIR)).join("launchkit.toml")
        });
        let malformed = |what| BadLayer::Malformed { path: path.clone(), what };
        let Some(text) = read(&path)? else {
            return match named {
                Some(_) => Err(malformed("LAUNCHKIT_CONFIG names this file, and it does not exist".to_owned())),
                None => Ok(()),
            };
        };
        // The parser's own message quotes the line, which may hold a secret: only the place is told.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            malformed(format!("line {line} is not valid TOML"))
        })?;
        let origin = Origin::File(path.clone());
        for (key, value) in table {
            let Some(variable) = known(&key.to_ascii_uppercase()) else {
                return Err(malformed(format!("{key:?} is not a setting that this version knows")));
            };
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                _ => return Err(malformed(format!("{key} must be a string or a whole number"))),
            };
            self.offer(variable.name, &value, &origin);
        }
        Ok(())
    }
}

/// The variable of this name, if it is one of ours.
pub fn known(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

fn read(path: &Path) -> Result<Option<String>, BadLayer> {
    let unreadable = |source| BadLayer::Unreadable { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(data) if data.len() > MOST_BYTES => {
            return Err(BadLayer::Malformed { path: path.to_owned(), what: "larger than 256 KiB".to_owned() });
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(unreadable)
}

/// Names and values of a `.env` file, in order; an error names the line, never its content.
fn parse_dotenv(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let fault = |what: &str| format!("line {}: {what}", index + 1);
        let (name, value) = line.split_once('=').ok_or_else(|| fault("expected NAME=value"))?;
        let name = name.trim_end();
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(fault("expected NAME=value with letters, digits and _ in the name"));
        }
        pairs.push((name.to_owned(), dotenv_value(value.trim_start()).map_err(fault)?));
    }
    Ok(pairs)
}

fn dotenv_value(raw: &str) -> Result<String, &'static str> {
    let (value, rest) = match raw.chars().next() {
        Some('\'') => {
            raw[1..].split_once('\'').map(|(v, rest)| (v.to_owned(), rest)).ok_or("the quote ' is not closed")?
        }
        Some('"') => double_quoted(&raw[1..])?,
        _ => return Ok(unquoted(raw).to_owned()),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value)
    } else {
        Err("only a # comment may follow the closing quote")
    }
}

/// Up to a `#` that stands at the start or after white space: `pa#ss` is a value, `x # y` is not.
fn unquoted(raw: &str) -> &str {
    let bytes = raw.as_bytes();
    let comment = (0..bytes.len()).find(|&i| bytes[i] == b'#' && (i == 0 || bytes[i - 1].is_ascii_whitespace()));
    raw[..comment.unwrap_or(raw.len())].trim_end()
}

fn double_quoted(raw: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = raw.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &raw[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(c @ ('"' | '\\' | '$' | '\'')) => value.push(c),
                _ => return Err("unknown escape in a double-quoted value"),
            },
            c => value.push(c),
        }
    }
    Err("the quote \" is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect()
    }

    #[test]
    fn dotenv_values() {
        let text = "\u{feff}# head\r\nA=plain\r\nB = \"with # sign\" # comment\nC='raw \\n $x'\nexport D=pa#ss # no\n\
                    E=\"\"  # Leave empty\nF=\nG=\"a\\\"b\\\\c\\n\"\nH= # only a comment\n\nI=a=b";
        let got = parse_dotenv(text).unwrap();
        let got: Vec<_> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            got,
            [
                ("A", "plain"),
                ("B", "with # sign"),
                ("C", "raw \\n $x"),
                ("D", "pa#ss"),
                ("E", ""),
                ("F", ""),
                ("G", "a\"b\\c\n"),
                ("H", ""),
                ("I", "a=b"),
            ]
        );
    }

    #[test]
    fn a_bad_dotenv_line_is_named_and_not_shown() {
        for bad in [
            "A=1\nsecretvalue",
            "A=1\nB=\"secretvalue",
            "A=1\nB='secretvalue",
            "A=1\nB='x' secretvalue",
            "A=1\nB C=secretvalue",
        ] {
            let message = parse_dotenv(bad).unwrap_err();
            assert!(message.starts_with("line 2: ") && !message.contains("secretvalue"), "{bad:?}: {message}");
        }
    }

    #[test]
    fn layers_in_order_and_empty_is_unset() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join(".env"), "PORT=1\nHOST=dotenv\nJWT_ISSUER=dotenv\nLAUNCHKIT_DATA_DIR=data\n")
            .unwrap();
        std::fs::write(dir.path().join("data/launchkit.toml"), "port = 2\nhost = 'toml'\nworker_concurrency = 7\n")
            .unwrap();
        let env = environment(&[("HOST", "env"), ("JWT_ISSUER", ""), ("LAUNCHKIT_TYPO", "x"), ("AI_MODEL", "m")]);
        let got = Settings::load(&[("HOST", None), ("PORT", Some("3".into()))], env, dir.path()).unwrap();
        assert_eq!((got.get("PORT"), got.origin("PORT")), (Some("3"), Origin::Flag));
        assert_eq!((got.get("HOST"), got.origin("HOST")), (Some("env"), Origin::Environment));
        assert_eq!(
            (got.get("JWT_ISSUER"), got.origin("JWT_ISSUER")),
            (Some("dotenv"), Origin::DotEnv(dir.path().join(".env")))
        );
        assert_eq!(got.get("WORKER_CONCURRENCY"), Some("7"));
        assert!(matches!(got.origin("WORKER_CONCURRENCY"), Origin::File(_)));
        assert_eq!((got.get("LOG_FILE"), got.origin("LOG_FILE")), (None, Origin::Default));
        assert_eq!(got.warnings.len(), 2, "{:?}", got.warnings);
    }

    #[test]
    fn a_bad_toml_file_is_refused_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        for (text, part) in
            [("a = 1\njwt_secret = hunter2hunter2", "line 2"), ("prot = 1", "\"prot\""), ("port = [1]", "port must be")]
        {
            std::fs::write(dir.path().join("c.toml"), text).unwrap();
            let env = environment(&[("LAUNCHKIT_CONFIG", "c.toml")]);
            let message = Settings::load(&[], env, dir.path()).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        }
        let env = environment(&[("LAUNCHKIT_CONFIG", "absent.toml")]);
        assert!(Settings::load(&[], env, dir.path()).unwrap_err().to_string().contains("does not exist"));
    }
}
