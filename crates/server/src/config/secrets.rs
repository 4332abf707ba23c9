//! Secrets that are made at first start and kept beside the data, readable by the owner alone.

use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

/// Reads the secret kept in `path`, or makes one of 32 random bytes (43 characters) there.
///
/// Several processes may start at once: all get the same secret, and none sees half a file.
pub fn keep(path: &Path) -> std::io::Result<SecretString> {
    if let Some(kept) = read(path)? {
        return Ok(kept);
    }
    write_new(path, &fresh())?;
    // Whoever linked first has decided; the others read that one.
    read(path)?.ok_or_else(|| Error::new(ErrorKind::NotFound, "the secret vanished while it was being made"))
}

/// Reads the secret kept in `path`; when there is none, answers a random one that is not kept.
pub fn kept_or_passing(path: &Path) -> std::io::Result<SecretString> {
    Ok(read(path)?.unwrap_or_else(|| SecretString::from(fresh())))
}

/// Creates `path` with mode 0600 and this content and one line end, in one step; a file that is
/// there already is left alone.
pub fn write_new(path: &Path, content: &str) -> std::io::Result<()> {
    let draft = draft_beside(path)?;
    let written = write_private(&draft, content).and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = std::fs::remove_file(&draft);
    written.and(removed)
}

/// The same for a file that may be there already: it is replaced in one step.
pub fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    let draft = draft_beside(path)?;
    let written = write_private(&draft, content).and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        // The first failure is the one to tell; the draft may not even be there.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

/// Creates a directory, with its parents, that only the owner may enter; an existing one is left as it is.
pub fn private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A name that nobody else uses, in the same directory, which is made if it is not there.
fn draft_beside(path: &Path) -> std::io::Result<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new("."));
    private_directory(directory)?;
    Ok(directory.join(format!(".made-{:016x}", rand::random::<u64>())))
}

fn fresh() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn read(path: &Path) -> std::io::Result<Option<SecretString>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() < 32 => Err(Error::new(
            ErrorKind::InvalidData,
            "the kept secret is shorter than 32 bytes; remove the file to make a new one",
        )),
        Ok(text) => Ok(Some(SecretString::from(text.trim()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn made_once_and_private_even_when_many_start_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/jwt-secret");
        let mut made: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| keep(&path).unwrap().expose_secret().to_owned())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        made.dedup();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].len(), 43);
        assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_is_left_alone_or_replaced_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("first-api-key");
        let content = || std::fs::read_to_string(&path).unwrap();
        write_new(&path, "one").unwrap();
        write_new(&path, "two").unwrap();
        assert_eq!(content(), "one\n");
        replace(&path, "three").unwrap();
        assert_eq!(content(), "three\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_truncated_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt-secret");
        std::fs::write(&path, "short\n").unwrap();
        assert!(keep(&path).unwrap_err().to_string().contains("shorter than 32 bytes"));
    }
}
