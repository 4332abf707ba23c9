//! Certificates for one server and its clients, signed by an authority that nobody else knows.

use std::ffi::OsString;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{RedisError, failed};

const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];

/// An authority, and what it has signed. All of it is PEM.
pub struct Papers {
    /// The authority's certificate.
    pub authority: String,
    /// A client's certificate and key.
    pub client: (String, String),
    server: (String, String),
}

impl Papers {
    pub(super) fn make() -> Result<Self, RedisError> {
        signed().map_err(|why| RedisError::Failed { step: "signing certificates", why: why.to_string() })
    }

    /// Lays them into a server's directory; the settings by which it speaks nothing but TLS, to known clients alone.
    pub(super) fn lay(&self, home: &Path, port: u16) -> Result<Vec<OsString>, RedisError> {
        let mut settings: Vec<OsString> = ["--port", "0", "--tls-port", &port.to_string()].map(OsString::from).to_vec();
        let files = [("cert", &self.server.0), ("key", &self.server.1), ("ca-cert", &self.authority)];
        for (name, text) in files {
            let file = home.join(format!("{name}.pem"));
            std::fs::write(&file, text).map_err(failed("writing a certificate"))?;
            settings.extend([format!("--tls-{name}-file").into(), file.into_os_string()]);
        }
        Ok(settings)
    }
}

fn signed() -> Result<Papers, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::new([])?;
    authority.distinguished_name.push(DnType::CommonName, "the authority of one test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);
    let sign = || -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let signed = CertificateParams::new(NAMES.map(str::to_owned))?.signed_by(&key, &issuer)?;
        Ok((signed.pem(), key.serialize_pem()))
    };
    Ok(Papers { authority: certificate, server: sign()?, client: sign()? })
}
