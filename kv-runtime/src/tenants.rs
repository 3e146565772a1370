//! The tenants of a pair: each has keys behind its prefix, tables in its schema, and stores of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::durable_store::DurableStoreError;
use crate::error::Source;
use crate::hot_store::HotStoreError;
use crate::model::ModelDescriptor;
use crate::stores::{Stores, is_among};

/// PostgreSQL cuts off what is longer, so that two tenants would have one schema.
const SCHEMA_BYTES_MAX: usize = 63;

/// How much longer than it has to a drainer stays with a tenant that is not written to.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a name is shown that is not taken.
const SHOWN_MAX: usize = 80;

/// Why there is no such tenant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// The name cannot be one.
    #[error("`{name}` cannot be the name of a tenant, because {problem}")]
    Name {
        /// Its first characters.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The pair is one of `Kv::test`, whose only transaction is about one schema.
    #[error(
        "a pair of `Kv::test` has no tenants; open one with `Kv::connect`, or keep the test to one \
         tenant"
    )]
    InTest,
    /// The list of tenants could not be read or changed.
    #[error("the list of tenants cannot be reached; has `Kv::migrate` been called?")]
    List(#[source] Source),
}

impl From<DurableStoreError> for TenantError {
    fn from(error: DurableStoreError) -> Self {
        Self::List(error.into_source())
    }
}

/// The pair that was opened, and the tenants that were asked for since.
#[derive(Debug)]
pub(crate) struct Tenants {
    root: Arc<Stores>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    stores: HashMap<Arc<str>, Arc<Stores>>,
    /// What drainers of tenants carry, those of tenants among it that are not open yet.
    models: Vec<&'static ModelDescriptor>,
}

impl Tenants {
    pub(crate) fn new(root: Arc<Stores>) -> Self {
        Self { root, open: Mutex::default() }
    }

    /// What a tenant has: the same for all who ask, so that they share what they know of it.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<Stores>, TenantError> {
        let schema = schema_of(&self.root.settings.postgres.tenant_schema, name)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stores) = open.stores.get(name) {
            return Ok(Arc::clone(stores));
        }
        let durable = self.root.durable.of_tenant(name, &schema).ok_or(TenantError::InTest)?;
        let keys = self.root.keys.of_tenant(name);
        let hot = self.root.hot.of_tenant(name, keys.clone());
        let name: Arc<str> = name.into();
        let settings = self.root.settings.clone();
        let stores = Stores::new(hot, durable, keys, settings).of_tenant(Arc::clone(&name));
        open.models.iter().for_each(|model| stores.know(model));
        let stores = Arc::new(stores);
        open.stores.insert(name, Arc::clone(&stores));
        Ok(stores)
    }

    /// Tells all tenants of the models that a drainer carries, also those that are opened later. So
    /// two models with one key prefix are found by who spawns the drainer or asks for the repository,
    /// and not while nobody looks.
    ///
    /// # Panics
    /// If another model has the key prefix of one of them.
    pub(crate) fn carry(&self, models: &[&'static ModelDescriptor]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for &model in models {
            open.stores.values().for_each(|stores| stores.know(model));
            if !is_among(&open.models, model) {
                open.models.push(model);
            }
        }
    }

    /// Those that were added, by any process.
    pub(crate) async fn names(&self) -> Result<Vec<String>, TenantError> {
        Ok(self.root.durable.tenants().await?)
    }

    /// Those that were written to since a number, and the number to ask with next.
    pub(crate) async fn written_since(
        &self,
        number: u64,
    ) -> Result<(u64, Vec<String>), HotStoreError> {
        self.root.hot.written_since(number).await
    }

    /// How often drainers look for more.
    pub(crate) fn interval(&self) -> Duration {
        self.root.settings.drain.interval
    }

    /// How long a drainer stays with a tenant that is not written to: until what it has drained is
    /// trimmed.
    pub(crate) fn patience(&self) -> Duration {
        self.root.settings.drain.retention + PATIENCE
    }

    pub(crate) async fn add(&self, name: &str) -> Result<(), DurableStoreError> {
        self.root.durable.add_tenant(name).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), TenantError> {
        Ok(self.root.durable.remove_tenant(name).await?)
    }
}

/// The schema of a tenant: another one for each name.
pub(crate) fn schema_of(template: &str, name: &str) -> Result<String, TenantError> {
    let schema = template.replace("{}", name);
    let problem = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.contains('\0') {
        "it has a zero byte, which no schema can have".to_owned()
    } else if schema.len() > SCHEMA_BYTES_MAX {
        let (len, max) = (schema.len(), SCHEMA_BYTES_MAX);
        format!("its schema would have {len} bytes, and PostgreSQL has room for {max}")
    } else if is_of_others(&schema) {
        "its schema would be one of PostgreSQL's own or of everybody; `postgres.tenant_schema` can \
         put something beside the name"
            .to_owned()
    } else {
        return Ok(schema);
    };
    let name = name.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    Err(TenantError::Name { name, problem })
}

/// What a search path gives a meaning of its own, or has tables of no tenant.
fn is_of_others(schema: &str) -> bool {
    schema.starts_with("pg_") || ["public", "information_schema", "$user"].contains(&schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_have_a_schema_of_their_own_are_refused() {
        let long = "x".repeat(57);
        for (template, name, problem) in [
            ("tenant_{}", "", "is empty"),
            ("tenant_{}", "a\0b", "a zero byte"),
            ("tenant_{}", &long, "64 bytes"),
            ("tenant_{}", &"é".repeat(32_768), "65543 bytes"),
            ("{}", "public", "everybody"),
            ("{}", "pg_temp", "PostgreSQL's own"),
            ("{}", "information_schema", "PostgreSQL's own"),
            ("{}", "$user", "PostgreSQL's own"),
            ("p{}", "ublic", "everybody"),
        ] {
            let error = schema_of(template, name).expect_err(name).to_string();
            assert!(error.contains(problem) && error.len() < 400, "{error}");
        }
    }

    #[test]
    fn any_other_name_is_in_its_schema_as_it_is() {
        for name in ["acme", "public", "a\"; DROP", "A", "a b", "é{}:*", &"x".repeat(56)] {
            assert_eq!(schema_of("tenant_{}", name).expect(name), format!("tenant_{name}"));
        }
    }
}
