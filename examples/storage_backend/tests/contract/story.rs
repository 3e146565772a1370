//! The program, as somebody runs it.

use std::process::{Command, Output};

use kv_storage_backend::StorageMode;

use super::setup::settings;

/// Runs it with these variables and no others.
fn run(variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-storage-backend"));
    let output = command.env_clear().envs(variables.iter().copied()).output().expect("it starts");
    let said = String::from_utf8_lossy(match output.status.success() {
        true => &output.stdout,
        false => &output.stderr,
    });
    let said = said.into_owned();
    (output, said)
}

#[tokio::test]
async fn it_is_the_same_in_memory_and_on_servers() {
    let settings = settings(StorageMode::Redis).await;
    let (redis, database) = (settings.redis.url.expose(), settings.postgres.url.expose());
    let tenant = settings.tenant.as_deref().expect("one of the test's own");
    let servers = [("REDIS_URL", redis), ("DATABASE_URL", database), ("KV_TENANT", tenant)];
    for variables in [&[("STORAGE_MODE", "memory")][..], &servers] {
        let (output, said) = run(variables);
        assert!(output.status.success(), "{said}");
        for part in ["BSP 1 have registered", "keeps 3 files, 3000 bytes", "  pictures/two.jpg\n"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains(", 0 refused"), "{said}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (variables, problem) in [
        (&[][..], "setting `REDIS_URL` is not set; it should be like"),
        (&[("REDIS_URL", "redis://localhost")], "setting `DATABASE_URL` is not set"),
        (
            &[("STORAGE_MODE", "sqlite")],
            "`STORAGE_MODE` is `sqlite`, and should be `memory`, `postgres` or `redis`",
        ),
    ] {
        let (output, said) = run(variables);
        assert!(!output.status.success() && said.starts_with(problem), "{said}");
    }
}
