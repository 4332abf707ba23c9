//! Files of copies: private, written through to the disk, and under names of their own until they are whole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::config::secrets::private_directory;

pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut copy = make(to).map_err(at(to))?;
    let mut from_file = File::open(from).map_err(at(from))?;
    io::copy(&mut from_file, &mut copy).and_then(|_| copy.sync_all()).map_err(at(to))
}

/// Makes a file that only its owner may read.
pub(super) fn make(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// A path that does not depend on where the process stands, nor ends with a separator.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, BackupError> {
    Ok(std::path::absolute(path).map_err(at(path))?.components().collect())
}

pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The folder that a path stands in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    |why| BackupError::File { path, why }
}

/// Something under a name of its own until it is whole; removed unless it is kept.
pub(super) struct Draft(PathBuf);

impl Draft {
    /// Where it is until then.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn name(path: &Path) -> PathBuf {
        beside(path, &format!(".partial-{:016x}", rand::random::<u64>()))
    }

    /// A folder for what is to stand there.
    pub(super) fn folder(path: &Path) -> Result<Self, BackupError> {
        let name = Self::name(path);
        private_directory(&name).map_err(at(&name))?;
        Ok(Self(name))
    }

    /// A copy of a file for what is to stand there.
    pub(super) fn file(path: &Path, from: &Path) -> Result<Self, BackupError> {
        let draft = Self(Self::name(path));
        copy_file(from, &draft.0)?;
        Ok(draft)
    }

    /// Gives a folder its name. One that has something in it is not written over.
    pub(super) fn rename(self, path: &Path) -> Result<(), BackupError> {
        sync(&self.0).and_then(|()| std::fs::rename(&self.0, path)).map_err(at(path))?;
        sync(folder_of(path)).map_err(at(path))
    }

    /// Gives a file its name, unless something has it: to be left there, or removed again.
    pub(super) fn link(self, path: &Path) -> Result<Draft, BackupError> {
        match std::fs::hard_link(&self.0, path) {
            Ok(()) => {
                let put = Draft(path.to_owned());
                sync(folder_of(path)).map_err(at(path)).map(|()| put)
            }
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Exists(path.to_owned())),
            Err(why) => Err(at(path)(why)),
        }
    }

    /// Lets it stay.
    pub(super) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Nothing is there any more when it has got its name.
        let _ = if self.0.is_dir() { std::fs::remove_dir_all(&self.0) } else { std::fs::remove_file(&self.0) };
    }
}
