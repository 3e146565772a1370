//! The command that writes migrations, for a program of the user's that is linked with the models.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, io};

use super::{Migration, Schema};
use crate::durable_store::postgres::PostgresDurableStore;
use crate::error::{Source, with_sources};
use crate::settings::{ServerUrl, Settings};
use crate::tenants::{TenantError, schema_of};

const USAGE: &str = "\
write SQL for the tables of models

  print  show the SQL that makes the tables
  new    write a migration that makes the tables
  diff   show what the tables lack; with `--write`, write a migration of it

  --database-url <url>    for `diff`; else DATABASE_URL
  --tenant <name>         for `diff`: what this tenant's tables lack, which are in its schema
  --migrations <folder>   where migrations are; else `migrations`
  --name <name>           of the migration; else `create_…` or `change_…` with the table
  --model <name>          this model alone; may be given several times
  --write                 with `diff`";

/// Why no SQL was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The arguments were not understood.
    #[error("{problem}\n\n{USAGE}")]
    Arguments {
        /// What is wrong with them.
        problem: String,
    },
    /// PostgreSQL could not be asked for the tables, or does not understand the models' SQL.
    #[error("PostgreSQL at {url} cannot be asked for the difference")]
    PostgreSql {
        /// The address, without its password.
        url: String,
        /// What it or the connection said.
        #[source]
        source: Source,
    },
    /// A file could not be written.
    #[error("the migration cannot be written to `{}`", folder.display())]
    File {
        /// Where the migrations are.
        folder: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
}

impl SchemaError {
    fn arguments(problem: impl Into<String>) -> Self {
        Self::Arguments { problem: problem.into() }
    }

    fn not_understood(argument: &str) -> Self {
        Self::arguments(format!("`{}` is not understood", shown(argument)))
    }
}

/// An argument without what may be a password: it may be an address, or have one behind `=`.
fn shown(argument: &str) -> String {
    let (name, value) = argument.split_once('=').map_or((argument, ""), |(name, _)| (name, "=***"));
    if name.contains("://") { "***".to_owned() } else { format!("{name}{value}") }
}

/// What the command is told to do.
#[derive(Debug, Default)]
struct Arguments {
    verb: Option<String>,
    database_url: Option<ServerUrl>,
    tenant: Option<String>,
    migrations: Option<PathBuf>,
    name: Option<String>,
    models: Vec<String>,
    is_written: bool,
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, SchemaError> {
        let mut parsed = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (option, given) = match argument.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (argument.as_str(), None),
            };
            let mut value = || {
                let missing = || SchemaError::arguments(format!("`{option}` needs a value"));
                given.map(str::to_owned).or_else(|| arguments.next()).ok_or_else(missing)
            };
            match option {
                "--database-url" => parsed.database_url = Some(value()?.into()),
                "--tenant" => parsed.tenant = Some(value()?),
                "--migrations" => parsed.migrations = Some(value()?.into()),
                "--name" => parsed.name = Some(value()?),
                "--model" => parsed.models.push(value()?),
                "--write" if given.is_none() => parsed.is_written = true,
                verb if parsed.verb.is_none() && !verb.starts_with('-') => {
                    parsed.verb = Some(argument);
                }
                _ => return Err(SchemaError::not_understood(&argument)),
            }
        }
        Ok(parsed)
    }

    fn database_url(&self) -> Result<ServerUrl, SchemaError> {
        let given = self.database_url.clone();
        given.or_else(|| env::var("DATABASE_URL").ok().map(ServerUrl::from)).ok_or_else(|| {
            SchemaError::arguments("name a database with `--database-url` or DATABASE_URL")
        })
    }

    /// The schema of the tenant, as the settings of the service have it.
    fn schema(&self) -> Result<Option<String>, SchemaError> {
        let Some(tenant) = &self.tenant else { return Ok(None) };
        let template = env::var("DATABASE_TENANT_SCHEMA");
        let template = template.unwrap_or_else(|_| Settings::new("", "").postgres.tenant_schema);
        if template.matches("{}").count() != 1 {
            let problem =
                "DATABASE_TENANT_SCHEMA must have `{}` once, where a tenant's name stands";
            return Err(SchemaError::arguments(problem));
        }
        match schema_of(&template, tenant) {
            Ok(schema) => Ok(Some(schema)),
            // Without the name, which may be anything.
            Err(TenantError::Name { problem, .. }) => {
                Err(SchemaError::arguments(format!("`--tenant` names none, because {problem}")))
            }
            Err(error) => Err(SchemaError::arguments(error.to_string())),
        }
    }
}

impl Schema {
    /// What the models need that the tables of this database lack.
    ///
    /// ```no_run
    /// # use kv_runtime::KvModel;
    /// # use kv_runtime::schema::{Schema, SchemaError};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64 }
    /// # async fn run() -> Result<(), SchemaError> {
    /// let url = "postgres://localhost/rides".into();
    /// let change = Schema::new().model::<Booking>().difference(&url).await?;
    /// assert!(change.is_empty(), "{}", change.up());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It changes nothing, though it makes temporary tables to look at, and needs the right to.
    ///
    /// # Errors
    /// [`SchemaError::PostgreSql`].
    pub async fn difference(&self, database_url: &ServerUrl) -> Result<Migration, SchemaError> {
        self.difference_in(database_url, None).await
    }

    /// The same in the schema of a tenant.
    async fn difference_in(
        &self,
        database_url: &ServerUrl,
        schema: Option<&str>,
    ) -> Result<Migration, SchemaError> {
        let failed = |source| SchemaError::PostgreSql { url: database_url.to_string(), source };
        let settings = Settings::new("", database_url.expose());
        let store =
            PostgresDurableStore::new(&settings).map_err(|error| failed(Box::new(error)))?;
        let store = store.in_schema(schema);
        store.try_out().await.map_err(|error| failed(error.into_source()))?;
        let steps = store.difference(&self.models, &self.all).await;
        steps.map(Migration::new).map_err(|error| failed(error.into_source()))
    }

    /// Does what the program's arguments say, and prints what came of it: all that a program needs
    /// to do that writes migrations. Without arguments, it says which there are.
    pub async fn main(self) -> ExitCode {
        match self.run(env::args().skip(1)).await {
            Ok(text) => {
                println!("{}", text.trim_end());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{}", with_sources(&error));
                ExitCode::FAILURE
            }
        }
    }

    /// Does what these arguments say, and answers what is to be printed.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub async fn run(
        &self,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<String, SchemaError> {
        let arguments = Arguments::parse(arguments)?;
        let chosen = self.only(&arguments.models)?;
        match arguments.verb.as_deref() {
            Some("print") => Ok(chosen.create().up()),
            Some("new") => chosen.write(&arguments, &chosen.create(), "create"),
            Some("diff") => {
                let (url, schema) = (arguments.database_url()?, arguments.schema()?);
                let migration = chosen.difference_in(&url, schema.as_deref()).await?;
                match (arguments.is_written, migration.is_empty()) {
                    (true, false) => chosen.write(&arguments, &migration, "change"),
                    (_, false) => Ok(migration.up()),
                    (_, true) => Ok(format!("-- Nothing to change.\n\n{}", migration.up())),
                }
            }
            Some(verb) => Err(SchemaError::not_understood(verb)),
            None => Err(SchemaError::arguments("say what to do")),
        }
    }

    /// The models of these names; all of them, if none is named.
    fn only(&self, names: &[String]) -> Result<Self, SchemaError> {
        let named = |name: &String| {
            let model = self.models.iter().find(|model| model.name == name);
            model
                .copied()
                .ok_or_else(|| SchemaError::arguments(format!("no model is `{}`", shown(name))))
        };
        let models = match names {
            [] => self.models.clone(),
            names => names.iter().map(named).collect::<Result<_, _>>()?,
        };
        Ok(Self { models, all: self.all.clone() })
    }

    fn write(
        &self,
        arguments: &Arguments,
        migration: &Migration,
        verb: &str,
    ) -> Result<String, SchemaError> {
        let folder = arguments.migrations.clone().unwrap_or_else(|| "migrations".into());
        let name = arguments.name.clone().unwrap_or_else(|| match self.models.as_slice() {
            [model] => format!("{verb}_{}", model.table.replace('.', "_")),
            _ => format!("{verb}_tables"),
        });
        let written = migration.write(&folder, &name);
        let written = written.map_err(|source| SchemaError::File { folder, source })?;
        Ok(written.display().to_string())
    }
}
