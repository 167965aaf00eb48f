//! What stands before SQLite's own file system: the same, but that what changes files of recorded folders is noted.
//!
//! It is registered once in a process, as the default, so nothing that opens a database has to know of it. A file elsewhere is
//! opened by the system's own functions and not touched; of one in a recorded folder four functions are ours, which do what the
//! system's do and note it.
#![expect(unsafe_code, reason = "SQLite calls its file system by C functions")]

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use libsqlite3_sys::{
    SQLITE_CANTOPEN, SQLITE_OK, sqlite3_file, sqlite3_filename, sqlite3_initialize, sqlite3_int64,
    sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

use crate::recording::{Event, Events};

/// What SQLite calls it.
const NAME: &CStr = c"waxwing-recorder";

/// The system's own, which does all the work.
struct System(&'static sqlite3_vfs);

// SAFETY: nobody changes it once it is registered, and SQLite itself calls its functions from any thread.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

static SYSTEM: LazyLock<Option<System>> = LazyLock::new(install);

fn system() -> Option<&'static sqlite3_vfs> {
    SYSTEM.as_ref().map(|system| system.0)
}

/// Folders that are recorded.
static FOLDERS: Mutex<Vec<(PathBuf, Weak<Events>)>> = Mutex::new(Vec::new());

/// Open files of those folders, by the address of what SQLite keeps of each.
static FILES: LazyLock<Mutex<HashMap<usize, Open>>> = LazyLock::new(Mutex::default);

/// An open file.
#[derive(Clone)]
struct Open {
    name: PathBuf,
    events: Arc<Events>,
    system: &'static sqlite3_io_methods,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, what is done in this folder is noted there.
pub(crate) fn record(folder: PathBuf, events: &Arc<Events>) -> io::Result<()> {
    if system().is_none() {
        return Err(io::Error::other("SQLite has no file system to stand before"));
    }
    lock(&FOLDERS).push((folder, Arc::downgrade(events)));
    Ok(())
}

/// Files that are opened there from now on are not recorded.
pub(crate) fn forget(folder: &Path) {
    lock(&FOLDERS).retain(|(recorded, _)| recorded != folder);
}

fn install() -> Option<System> {
    // SAFETY: SQLite may be initialised at any time and from any thread. What it has registered then stays as long as the
    // process, and is not changed by anybody.
    let system = unsafe {
        sqlite3_initialize();
        sqlite3_vfs_find(std::ptr::null()).as_ref()
    }?;
    let ours = Box::leak(Box::new(sqlite3_vfs {
        zName: NAME.as_ptr(),
        xOpen: Some(open),
        xDelete: Some(delete),
        pNext: std::ptr::null_mut(),
        ..*system
    }));
    // SAFETY: `ours` is never freed and not used by us after this; its functions are those of `system`, or ours.
    let registered = unsafe { sqlite3_vfs_register(ours, 1) };
    (registered == SQLITE_OK).then_some(System(system))
}

/// The recorded folder of a file, and its name in it.
fn recorded(name: *const c_char) -> Option<(PathBuf, Arc<Events>)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite passes the names of files as strings that end with a zero and live as long as the call.
    let name = unsafe { CStr::from_ptr(name) };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    let (folder, file) = (path.parent()?, path.file_name()?);
    let folders = lock(&FOLDERS);
    let (_, events) = folders.iter().find(|(recorded, _)| recorded == folder)?;
    Some((file.into(), events.upgrade()?))
}

fn exists(name: *const c_char) -> bool {
    // SAFETY: as in `recorded`, whose caller has looked that it is not null.
    let name = unsafe { CStr::from_ptr(name) };
    Path::new(OsStr::from_bytes(name.to_bytes())).exists()
}

/// As the system opens it. One that is recorded is given functions of ours.
unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let Some((system, system_open)) = system().and_then(|system| Some((system, system.xOpen?))) else {
        return SQLITE_CANTOPEN;
    };
    let system = std::ptr::from_ref(system).cast_mut();
    let Some((file_name, events)) = recorded(name) else {
        // SAFETY: the arguments are those that SQLite has passed for the system's own function.
        return unsafe { system_open(system, name, file, flags, flags_out) };
    };
    let mut noted = events.lock();
    let is_new = !exists(name);
    // SAFETY: as above. Ours asks for as much room in `file` as the system's.
    let opened = unsafe { system_open(system, name, file, flags, flags_out) };
    if opened != SQLITE_OK {
        return opened;
    }
    if is_new {
        noted.push(Event::Created(file_name.clone()));
    }
    drop(noted);
    // SAFETY: a file that was opened has its functions there, in a table that stays as long as the process.
    let methods = unsafe { (*file).pMethods.as_ref() };
    let Some(methods) = methods else { return SQLITE_CANTOPEN };
    lock(&FILES).insert(file.addr(), Open { name: file_name, events, system: methods });
    // SAFETY: `file` is SQLite's, which nobody else uses while it is being opened. The table stays as long as the process.
    unsafe { (*file).pMethods = ours(methods) };
    SQLITE_OK
}

/// The system's functions, with ours in the place of those that change a file. One table for each of the system's.
fn ours(system: &'static sqlite3_io_methods) -> *const sqlite3_io_methods {
    static TABLES: LazyLock<Mutex<HashMap<usize, &'static sqlite3_io_methods>>> =
        LazyLock::new(Mutex::default);
    let mut tables = lock(&TABLES);
    *tables.entry(std::ptr::from_ref(system).addr()).or_insert_with(|| {
        Box::leak(Box::new(sqlite3_io_methods {
            // The third has memory that is written without a call.
            iVersion: system.iVersion.min(2),
            xClose: Some(close),
            xWrite: Some(write),
            xTruncate: Some(truncate),
            xSync: Some(sync),
            ..*system
        }))
    })
}

fn opened(file: *mut sqlite3_file) -> Option<Open> {
    lock(&FILES).get(&file.addr()).cloned()
}

/// Does what the system does, and notes it if it was done.
fn noting(
    file: *mut sqlite3_file,
    event: impl FnOnce(PathBuf) -> Event,
    done: impl FnOnce(&sqlite3_io_methods) -> Option<c_int>,
) -> c_int {
    let Some(open) = opened(file) else { return SQLITE_CANTOPEN };
    let mut noted = open.events.lock();
    let Some(code) = done(open.system) else { return SQLITE_CANTOPEN };
    if code == SQLITE_OK {
        noted.push(event(open.name));
    }
    code
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: SQLite passes so many bytes that it does not change during the call.
    let copy = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) }.to_vec();
    noting(
        file,
        |name| Event::Written(name, u64::try_from(offset).unwrap_or(0), copy),
        // SAFETY: the arguments are those that SQLite has passed, for the function that the system has for this file.
        |system| system.xWrite.map(|write| unsafe { write(file, bytes, count, offset) }),
    )
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    noting(
        file,
        |name| Event::Cut(name, u64::try_from(size).unwrap_or(0)),
        // SAFETY: as in `write`.
        |system| system.xTruncate.map(|truncate| unsafe { truncate(file, size) }),
    )
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as in `write`.
    noting(file, Event::Synced, |system| system.xSync.map(|sync| unsafe { sync(file, flags) }))
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let Some(open) = lock(&FILES).remove(&file.addr()) else { return SQLITE_CANTOPEN };
    let Some(close) = open.system.xClose else { return SQLITE_CANTOPEN };
    // SAFETY: `file` is SQLite's, which nobody else uses while it is being closed. The system's function finds its own table again.
    unsafe {
        (*file).pMethods = open.system;
        close(file)
    }
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let Some((system, system_delete)) = system().and_then(|system| Some((system, system.xDelete?))) else {
        return SQLITE_CANTOPEN;
    };
    let system = std::ptr::from_ref(system).cast_mut();
    let Some((file, events)) = recorded(name) else {
        // SAFETY: the arguments are those that SQLite has passed for the system's own function.
        return unsafe { system_delete(system, name, sync_folder) };
    };
    let mut noted = events.lock();
    // SAFETY: as above.
    let deleted = unsafe { system_delete(system, name, sync_folder) };
    if deleted == SQLITE_OK {
        noted.push(Event::Deleted(file));
    }
    deleted
}
