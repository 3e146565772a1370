//! Finds the servers' programs, and installs them where that needs no password.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::ServerError;
use super::process::{is_root, last_lines};

/// Where PostgreSQL and Redis live when they are not on `PATH`. A `*` stands for a version.
const USUAL_DIRECTORIES: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/local/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// `flock` lets one process install at a time and lets go however that process ends. What fails
/// in the update may not matter to the installation, which says so itself. A run level of 1
/// keeps the packages from starting services of their own where no systemd runs.
const INSTALL_SCRIPT: &str = r#"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
exec 9</var/lib/dpkg && flock -w 900 9
apt-get update
apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$1"
"#;

/// A program, and how one gets it.
struct Package {
    program: &'static str,
    debian: &'static str,
    homebrew: &'static str,
    alternative: &'static str,
}

const REDIS: Package = Package {
    program: "redis-server",
    debian: "redis-server",
    homebrew: "redis",
    alternative: "set REDIS_URL",
};
const POSTGRES: Package = Package {
    program: "PostgreSQL's initdb",
    debian: "postgresql",
    homebrew: "postgresql",
    alternative: "set DATABASE_URL",
};

/// The programs of one PostgreSQL installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostgresPrograms {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    pub(super) psql: PathBuf,
}

/// Names the program of the Redis servers, for a run of the tests on another one.
const REDIS_VARIABLE: &str = "KV_TESTING_REDIS_SERVER";

/// The path of `redis-server` or `valkey-server`.
pub(super) fn redis_server() -> Result<PathBuf, ServerError> {
    if let Some(program) = std::env::var_os(REDIS_VARIABLE).filter(|program| !program.is_empty()) {
        return named_program(REDIS_VARIABLE, program);
    }
    find_or_install(&REDIS, || {
        find_program(&["redis-server", "valkey-server"], &search_directories())
    })
}

/// The programs that make, run and ask a cluster.
pub(super) fn postgres_programs() -> Result<PostgresPrograms, ServerError> {
    find_or_install(&POSTGRES, || find_postgres_programs(&search_directories()))
}

/// The path of `psql`, all that a server that runs elsewhere needs.
pub(super) fn psql() -> Result<PathBuf, ServerError> {
    let package = Package {
        program: "psql",
        debian: "postgresql-client",
        homebrew: "libpq",
        alternative: "put its directory on PATH",
    };
    find_or_install(&package, || find_program(&["psql"], &search_directories()))
}

fn find_or_install<T>(package: &Package, find: impl Fn() -> Option<T>) -> Result<T, ServerError> {
    if let Some(found) = find() {
        return Ok(found);
    }
    if may_install() {
        install(package)?;
    }
    find().ok_or(ServerError::Missing {
        program: package.program,
        debian_package: package.debian,
        homebrew_package: package.homebrew,
        alternative: package.alternative,
    })
}

/// The directories of `PATH`, then the usual ones, newer versions first.
fn search_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for pattern in USUAL_DIRECTORIES {
        directories.extend(expand(pattern));
    }
    directories
}

/// The directories that a pattern with at most one `*` stands for, newest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let Some((parent, prefix)) = before.rsplit_once('/') else {
        return Vec::new();
    };
    let mut versions = Vec::new();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if let Some(version) = version.and_then(parse_version) {
            let directory = format!("{}{after}", entry.path().display());
            versions.push((version, PathBuf::from(directory)));
        }
    }
    versions.sort();
    versions.into_iter().rev().map(|(_, directory)| directory).collect()
}

fn parse_version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// The program that a variable names. It was asked for, so no other one will do.
fn named_program(variable: &'static str, program: OsString) -> Result<PathBuf, ServerError> {
    let path = PathBuf::from(program);
    match is_executable(&path) {
        // The servers run in directories of their own. A link stays one: some programs are several,
        // and go by the name that they are called by.
        true => std::path::absolute(&path).map_err(ServerError::io("find the program of Redis")),
        false => Err(ServerError::NamedProgram { variable, path }),
    }
}

/// The first of the directories that has any of the programs decides.
fn find_program(names: &[&str], directories: &[PathBuf]) -> Option<PathBuf> {
    directories
        .iter()
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)))
        .find(|path| is_executable(path))
}

/// `initdb` and `postgres` of one directory, so that they are of one version.
///
/// Links are followed: on `PATH` there may be `initdb` alone, and `psql` may be a wrapper there
/// that picks a version by itself.
fn find_postgres_programs(directories: &[PathBuf]) -> Option<PostgresPrograms> {
    for directory in directories {
        let Ok(initdb) = fs::canonicalize(directory.join("initdb")) else {
            continue;
        };
        let postgres = initdb.with_file_name("postgres");
        if !is_executable(&initdb) || !is_executable(&postgres) {
            continue;
        }
        let beside = initdb.with_file_name("psql");
        let psql = match is_executable(&beside) {
            true => beside,
            false => find_program(&["psql"], directories)?,
        };
        return Some(PostgresPrograms { initdb, postgres, psql });
    }
    None
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn may_install() -> bool {
    if std::env::var_os("KV_TESTING_INSTALL").as_deref() == Some(OsStr::new("never")) {
        return false;
    }
    find_program(&["apt-get"], &search_directories()).is_some() && (is_root() || may_become_root())
}

fn may_become_root() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

fn install(package: &Package) -> Result<(), ServerError> {
    eprintln!(
        "{} was not found: installing the package {} with apt-get",
        package.program, package.debian
    );
    let mut command = if is_root() {
        Command::new("sh")
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", "sh"]);
        command
    };
    let output = command
        .args(["-c", INSTALL_SCRIPT, "install", package.debian])
        .stdin(Stdio::null())
        .output()
        .map_err(ServerError::io("run apt-get"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(ServerError::Install {
        package: package.debian,
        alternative: package.alternative,
        output: last_lines(&String::from_utf8_lossy(&said)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make_program(path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, "#!/bin/sh\n").expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    #[test]
    fn the_newest_version_comes_first_by_number() {
        let root = tempfile::tempdir().expect("a directory");
        for version in ["9.6", "17", "15", "junk"] {
            fs::create_dir_all(root.path().join(format!("pg-{version}/bin"))).expect("a directory");
        }
        let found = expand(&format!("{}/pg-*/bin", root.path().display()));
        let expected = ["pg-17/bin", "pg-15/bin", "pg-9.6/bin"].map(|end| root.path().join(end));
        assert_eq!(found, expected);
        assert_eq!(expand("/nowhere-at-all/*/bin"), Vec::<PathBuf>::new());
    }

    #[test]
    fn an_earlier_directory_wins_whatever_the_server_is_called() {
        let root = tempfile::tempdir().expect("a directory");
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        make_program(&first.join("valkey-server"));
        make_program(&second.join("redis-server"));
        // A file that cannot be run does not count.
        fs::write(first.join("redis-server"), "").expect("a file");
        let found = find_program(&["redis-server", "valkey-server"], &[first.clone(), second]);
        assert_eq!(found, Some(first.join("valkey-server")));
    }

    #[test]
    fn a_program_that_is_named_is_taken_or_told_to_be_none() {
        let root = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(root.path()).expect("a path");
        let program = root.join("valkey-server");
        make_program(&program);
        let link = root.join("redis-server");
        std::os::unix::fs::symlink(&program, &link).expect("a link");
        for named in [program, link] {
            let found = named_program("VARIABLE", named.clone().into()).expect("it can be run");
            assert_eq!(found, named);
        }
        let error = named_program("VARIABLE", root.join("none").into()).expect_err("no file");
        let expected = format!(
            "VARIABLE is {}/none, which is no program; write the path of a server's program",
            root.display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn postgres_programs_are_of_one_installation() {
        let root = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(root.path()).expect("a path");
        let (wrappers, installation) = (root.join("wrappers"), root.join("pg/bin"));
        make_program(&wrappers.join("psql"));
        for program in ["initdb", "postgres", "psql"] {
            make_program(&installation.join(program));
        }
        std::os::unix::fs::symlink(installation.join("initdb"), wrappers.join("initdb"))
            .expect("a link");
        let expected = PostgresPrograms {
            initdb: installation.join("initdb"),
            postgres: installation.join("postgres"),
            psql: installation.join("psql"),
        };
        assert_eq!(find_postgres_programs(std::slice::from_ref(&wrappers)), Some(expected.clone()));
        fs::remove_file(installation.join("psql")).expect("removed");
        let found =
            find_postgres_programs(std::slice::from_ref(&wrappers)).expect("psql from the search");
        assert_eq!(found.psql, wrappers.join("psql"));
        fs::remove_file(installation.join("postgres")).expect("removed");
        assert_eq!(find_postgres_programs(&[wrappers]), None);
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let error = ServerError::Missing {
            program: REDIS.program,
            debian_package: REDIS.debian,
            homebrew_package: REDIS.homebrew,
            alternative: REDIS.alternative,
        };
        assert_eq!(
            error.to_string(),
            "redis-server was not found on PATH; install it with `apt-get install redis-server` \
             or `brew install redis`, or set REDIS_URL"
        );
    }
}
