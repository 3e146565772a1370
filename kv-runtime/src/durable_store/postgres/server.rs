//! The start-up checks of the server: its version, the runtime's own tables, and the models'.

use async_trait::async_trait;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::{Array, Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::tables::MIGRATIONS;
use super::{PostgresDurableStore, classify, schema};
use crate::checks::{Check, CheckError, CheckSettings, Problem, StoreChecks, queues_of};
use crate::durable_store::DurableStoreError;
use crate::model::ModelDescriptor;

/// The oldest that had updates when this was written; nothing newer is needed.
const VERSION_MIN: i32 = 13;

#[derive(diesel::QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(diesel::QueryableByName)]
struct LayoutRow {
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = Integer)]
    layout: i32,
    #[diesel(sql_type = Bool)]
    was_changed: bool,
}

#[async_trait]
impl StoreChecks for PostgresDurableStore {
    async fn check_server(&self, settings: &CheckSettings) -> Result<Vec<Problem>, CheckError> {
        if !settings.wants(Check::PostgresVersion) {
            return Ok(Vec::new());
        }
        let mut connection = self.connection().await?;
        let version =
            texts(&mut connection, "SELECT current_setting('server_version_num') AS value");
        let version = version.await?;
        Ok(version.iter().filter_map(|version| version_problem(version)).collect())
    }

    async fn check_models(
        &self,
        models: &[&'static ModelDescriptor],
        settings: &CheckSettings,
    ) -> Result<Vec<Problem>, CheckError> {
        let mut problems = Vec::new();
        let mut connection = self.connection().await?;
        if settings.wants(Check::Migrations) {
            let applied = applied_migrations(&mut connection).await?;
            problems.extend(migration_problem(&applied));
        }
        if settings.wants(Check::Partitions) && exists(&mut connection, "kv_offsets").await? {
            for LayoutRow { queue, layout, was_changed } in layouts(&mut connection, models).await?
            {
                let written = layout.to_string();
                problems.extend(match (layout == i32::from(self.partitions), was_changed) {
                    (true, _) => None,
                    (false, true) => {
                        Some(Problem::other_partitions(&queue, &written, self.partitions))
                    }
                    (false, false) => Some(Problem::partitions(&queue, &written, self.partitions)),
                });
            }
        }
        if settings.wants(Check::Schema) {
            problems.extend(schema::problems(&mut connection, models).await?);
        }
        Ok(problems)
    }
}

async fn texts(
    connection: &mut AsyncPgConnection,
    sql: &str,
) -> Result<Vec<String>, DurableStoreError> {
    let rows: Vec<TextRow> = diesel::sql_query(sql).load(connection).await.map_err(classify)?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

async fn exists(
    connection: &mut AsyncPgConnection,
    table: &str,
) -> Result<bool, DurableStoreError> {
    let sql = format!("SELECT '' AS value WHERE to_regclass('{table}') IS NOT NULL");
    Ok(!texts(connection, &sql).await?.is_empty())
}

/// The versions of the migrations that were run, whoever's they are.
///
/// Diesel would make its table before it looks, and a check should change nothing.
async fn applied_migrations(
    connection: &mut AsyncPgConnection,
) -> Result<Vec<String>, DurableStoreError> {
    if !exists(connection, "__diesel_schema_migrations").await? {
        return Ok(Vec::new());
    }
    texts(connection, "SELECT version AS value FROM __diesel_schema_migrations").await
}

async fn layouts(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
) -> Result<Vec<LayoutRow>, DurableStoreError> {
    // Before the newest migrations, too, which another check asks for.
    let sql = "SELECT DISTINCT queue, layout, \
               coalesce((to_jsonb(o)->>'first_partition')::int > 0, false) AS was_changed \
               FROM kv_offsets AS o WHERE queue = ANY($1) \
               AND NOT coalesce((to_jsonb(o)->>'is_moved')::boolean, false) ORDER BY queue";
    let query = diesel::sql_query(sql).bind::<Array<Text>, _>(queues_of(models));
    query.load(connection).await.map_err(classify)
}

fn migration_problem(applied: &[String]) -> Option<Problem> {
    // What is built in can be read; else the build would have failed.
    let ours: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().unwrap_or_default();
    let mut pending: Vec<String> = ours
        .iter()
        .filter(|migration| !applied.contains(&migration.name().version().to_string()))
        .map(|migration| format!("`{}`", migration.name()))
        .collect();
    pending.sort_unstable();
    (!pending.is_empty()).then(|| {
        let pending = pending.join(", ");
        Problem::new(
            Check::Migrations,
            format!(
                "the runtime's own tables are not those of this release, because the migrations \
                 {pending} have not run; call `Kv::migrate`, or run them with the Diesel CLI"
            ),
        )
    })
}

/// The version as PostgreSQL counts it: 150004 is 15.4.
fn version_problem(version: &str) -> Option<Problem> {
    let major = version.parse::<i32>().unwrap_or_default() / 10_000;
    (major < VERSION_MIN).then(|| {
        Problem::new(
            Check::PostgresVersion,
            format!(
                "PostgreSQL is {major}, which is too old; upgrade it to {VERSION_MIN} or newer"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_from_new_ones() {
        for (version, name) in [("90624", "is 9,"), ("120017", "is 12,")] {
            let problem = version_problem(version).expect(version);
            assert!(problem.message.contains(name), "{problem}");
        }
        for version in ["130000", "150004", "180001"] {
            assert_eq!(version_problem(version), None, "{version}");
        }
    }
}
