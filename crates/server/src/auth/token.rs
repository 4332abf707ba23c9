//! Operators' tokens: JWT with HS256.
//!
//! The algorithm comes from the configuration and never from the token's header, `exp` is required,
//! and the time is an argument.

use std::cmp::Ordering;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::Jwt;

/// Longer tokens are not looked at.
const MOST_BYTES: usize = 8 * 1024;

/// What an operator may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Pause, resume, clean.
    Operator,
    /// Everything.
    Admin,
}

/// Whom a checked token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// `sub`: who it is.
    pub subject: String,
    /// What they may do. None when the token names no role that we know.
    pub role: Option<Role>,
    /// The one organisation that the token is limited to, if it is.
    pub org: Option<String>,
}

/// A token that is to be made.
#[derive(Clone, Debug)]
pub struct Grant {
    /// `sub`.
    pub subject: String,
    /// `role`.
    pub role: Role,
    /// `org`, when the token is to be limited to one.
    pub org: Option<String>,
}

/// Why a token is not accepted. Callers are told nothing more than that it is not.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// Not a JWT, another algorithm, a wrong signature, a claim missing or of the wrong type.
    #[error("not a valid token: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// Too long to look at.
    #[error("longer than 8 KiB")]
    TooLong,
    /// The time in `exp` has come.
    #[error("expired")]
    Expired,
    /// The time in `nbf` has not come.
    #[error("not valid yet")]
    NotYet,
}

/// Makes and checks tokens with one shared secret.
pub struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
    rules: Validation,
    issuer: Option<String>,
    audience: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
}

#[derive(Serialize)]
struct NewClaims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Tokens {
    /// Tokens as this configuration wants them.
    pub fn new(jwt: &Jwt) -> Tokens {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["exp", "sub"]);
        // Times are compared in `check`, with the caller's clock and no leeway.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = jwt.audience.is_some();
        if let Some(audience) = &jwt.audience {
            rules.set_audience(&[audience]);
            rules.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &jwt.issuer {
            rules.set_issuer(&[issuer]);
            rules.required_spec_claims.insert("iss".to_owned());
        }
        let secret = jwt.secret.expose_secret().as_bytes();
        Tokens {
            sign: EncodingKey::from_secret(secret),
            check: DecodingKey::from_secret(secret),
            rules,
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
        }
    }

    /// Makes a token that is good from `now` to `until`, both in milliseconds; the seconds of a JWT
    /// round `until` down.
    pub fn make(&self, grant: &Grant, now: i64, until: i64) -> Result<SecretString, BadToken> {
        let claims = NewClaims {
            sub: &grant.subject,
            iat: now.div_euclid(1_000),
            exp: until.div_euclid(1_000),
            role: grant.role,
            org: grant.org.as_deref(),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
        };
        Ok(SecretString::from(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)?))
    }

    /// Whom the token stands for at `now` (milliseconds).
    pub fn check(&self, token: &str, now: i64) -> Result<Operator, BadToken> {
        if token.len() > MOST_BYTES {
            return Err(BadToken::TooLong);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.check, &self.rules)?.claims;
        let now = now as f64 / 1_000.0;
        // What cannot be compared has expired, too.
        if claims.exp.partial_cmp(&now) != Some(Ordering::Greater) {
            return Err(BadToken::Expired);
        }
        if claims.nbf.is_some_and(|from| from > now) {
            return Err(BadToken::NotYet);
        }
        let role = match claims.role.as_deref() {
            Some("viewer") => Some(Role::Viewer),
            Some("operator") => Some(Role::Operator),
            Some("admin") => Some(Role::Admin),
            _ => None,
        };
        Ok(Operator { subject: claims.sub, role, org: claims.org })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn tokens(secret: &str, issuer: Option<&str>, audience: Option<&str>) -> Tokens {
        Tokens::new(&Jwt {
            secret: SecretString::from(secret),
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
        })
    }

    fn grant() -> Grant {
        Grant { subject: "ops".into(), role: Role::Operator, org: Some("acme".into()) }
    }

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn what_was_made_is_accepted_until_its_end() {
        let tokens = tokens(A, Some("us"), Some("launchkit"));
        let token = tokens.make(&grant(), NOW, NOW + 60_000).unwrap();
        let token = token.expose_secret();
        let operator = tokens.check(token, NOW).unwrap();
        assert_eq!(operator, Operator { subject: "ops".into(), role: Some(Role::Operator), org: Some("acme".into()) });
        assert!(tokens.check(token, NOW + 59_999).is_ok());
        assert!(matches!(tokens.check(token, NOW + 60_000), Err(BadToken::Expired)));
    }

    #[test]
    fn issuer_audience_and_secret_must_be_ours() {
        let token = tokens(A, None, None).make(&grant(), NOW, NOW + 60_000).unwrap();
        let token = token.expose_secret();
        assert!(tokens(A, None, None).check(token, NOW).is_ok());
        assert!(tokens(A, Some("us"), None).check(token, NOW).is_err());
        assert!(tokens(A, None, Some("launchkit")).check(token, NOW).is_err());
        assert!(tokens(B, None, None).check(token, NOW).is_err());
    }
}
