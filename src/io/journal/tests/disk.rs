//! A disk in memory that forgets at a crash what was not made durable: sectors of 512 bytes each
//! on its own, names in the order in which they were changed. It counts system calls, and can fail
//! or crash at any of them.

use crate::io::journal::disk::{Access, Disk, DiskFile, Room};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum Rename {
    Set(PathBuf, usize),
    Remove(PathBuf),
    Move(PathBuf, PathBuf),
}

#[derive(Clone, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable.
    pending: Vec<Rename>,
    calls: u64,
    crash_at: Option<u64>,
    fail_at: Option<(u64, io::ErrorKind)>,
}

fn change(names: &mut BTreeMap<PathBuf, usize>, rename: &Rename) {
    match rename {
        Rename::Set(path, file) => {
            names.insert(path.clone(), *file);
        }
        Rename::Remove(path) => {
            names.remove(path);
        }
        Rename::Move(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

impl State {
    /// Before a system call that changes something. At the crash itself the call still happens, in
    /// memory.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.crash_at.is_some_and(|at| self.calls > at) {
            return Err(io::Error::other("crashed"));
        }
        match self.fail_at {
            Some((at, kind)) if self.calls == at => Err(kind.into()),
            _ => Ok(()),
        }
    }

    /// The call at which the crash comes never returns to whoever made it.
    fn done(&self) -> io::Result<()> {
        match self.crash_at {
            Some(at) if self.calls >= at => Err(io::Error::other("crashed")),
            Some(_) | None => Ok(()),
        }
    }

    fn rename(&mut self, rename: Rename) {
        change(&mut self.names, &rename);
        self.pending.push(rename);
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Small numbers drawn from a seed.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Clone, Default)]
pub(super) struct TestDisk(Arc<Mutex<State>>);

impl TestDisk {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// System calls so far that changed something.
    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Nothing after the call with that number is carried out.
    pub(super) fn crash_at(&self, call: u64) {
        self.state().crash_at = Some(call);
    }

    /// The call with that number fails.
    pub(super) fn fail_at(&self, call: u64, kind: io::ErrorKind) {
        self.state().fail_at = Some((call, kind));
    }

    /// What a restart finds.
    pub(super) fn survivor(&self, seed: u64) -> Self {
        let mut draw = Draw(seed);
        let mut state = self.state().clone();
        let kept = draw.below(state.pending.len() as u64 + 1) as usize;
        for rename in &state.pending[..kept] {
            change(&mut state.durable_names, rename);
        }
        for Contents { now, durable } in &mut state.files {
            if now.len() != durable.len() && draw.below(2) == 0 {
                durable.resize(now.len(), 0);
            }
            for (place, sector) in durable.chunks_mut(SECTOR).enumerate() {
                let newer = now.get(place * SECTOR..place * SECTOR + sector.len());
                if let Some(newer) = newer
                    && newer != sector
                    && draw.below(2) == 0
                {
                    sector.copy_from_slice(newer);
                }
            }
            now.clone_from(durable);
        }
        state.names.clone_from(&state.durable_names);
        state.pending.clear();
        (state.crash_at, state.fail_at, state.calls) = (None, None, 0);
        Self(Arc::new(Mutex::new(state)))
    }

    /// A disk of its own with the same contents.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    pub(super) fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.file(path).unwrap()].now.clone()
    }

    /// Changes what is on the disk, behind everybody's back.
    pub(super) fn put(&self, path: &Path, offset: usize, bytes: &[u8]) {
        let mut state = self.state();
        let file = state.file(path).unwrap();
        let contents = &mut state.files[file];
        contents.now[offset..offset + bytes.len()].copy_from_slice(bytes);
        contents.durable.clone_from(&contents.now);
    }
}

struct TestFile {
    disk: TestDisk,
    file: usize,
}

impl Disk for TestDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let first = inside.filter_map(|name| name.iter().next()?.to_str());
        Ok(first.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.call()?;
        state.files.push(Contents::default());
        let file = state.files.len() - 1;
        state.rename(Rename::Set(path.to_owned(), file));
        state.done()?;
        Ok(Box::new(TestFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.state().file(path)?;
        Ok(Box::new(TestFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.file(from)?;
        state.rename(Rename::Move(from.to_owned(), to.to_owned()));
        state.done()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.file(path)?;
        state.rename(Rename::Remove(path.to_owned()));
        state.done()
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let inside = |path: &&PathBuf| path.starts_with(folder);
        let paths: Vec<PathBuf> = self.state().names.keys().filter(inside).cloned().collect();
        paths.iter().try_for_each(|path| self.remove(path))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.done()?;
        state.durable_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }

    fn room(&self, _: &Path) -> io::Result<Room> {
        Ok(Room { free_bytes: 50, total_bytes: 100 })
    }
}

impl DiskFile for TestFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let now = &state.files[self.file].now;
        let rest = now.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.call()?;
        let now = &mut state.files[self.file].now;
        let end = offset as usize + from.len();
        if now.len() < end {
            now.resize(end, 0);
        }
        now[offset as usize..end].copy_from_slice(from);
        state.done()?;
        Ok(from.len())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call()?;
        state.done()?;
        let contents = &mut state.files[self.file];
        contents.durable.clone_from(&contents.now);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].now.len() as u64)
    }
}
