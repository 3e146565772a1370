//! The pair of stores that a [`Kv`](crate::Kv) and all that is made from it share.

use std::sync::{Arc, Mutex, PoisonError};

use crate::durable_store::{DurableStore, HeldRow};
use crate::entry::EntryId;
use crate::hot_store::{HotStore, HotStoreError};
use crate::key::KeySpace;
use crate::model::ModelDescriptor;
use crate::schema::name::split;
use crate::scheme::{KnownSchemes, Turns};
use crate::serials::SerialBlocks;
use crate::settings::Settings;
use crate::settled::SettledWatch;

/// A hot and a durable side, and what they agree on.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) hot: Arc<dyn HotStore>,
    pub(crate) durable: Arc<dyn DurableStore>,
    pub(crate) keys: KeySpace,
    /// Whose they are, if not that of the whole pair.
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) settings: Settings,
    /// What the storage schemes of queues are taken to be.
    pub(crate) schemes: KnownSchemes,
    /// Whether models can have another one than the default: not under a unit test's hand.
    pub(crate) has_schemes: bool,
    /// Who writes past the queue.
    pub(crate) turns: Turns,
    /// What receipts wait for.
    pub(crate) settled: SettledWatch,
    /// The ids that this process has taken from sequences and not given yet.
    pub(crate) serials: SerialBlocks,
    /// The models of this process, as far as they have shown themselves.
    models: Mutex<Vec<&'static ModelDescriptor>>,
}

impl Stores {
    pub(crate) fn new(
        hot: Arc<dyn HotStore>,
        durable: Arc<dyn DurableStore>,
        keys: KeySpace,
        settings: Settings,
    ) -> Self {
        let schemes = KnownSchemes::default();
        let has_schemes = !hot.is_watched();
        let turns = Turns::default();
        let settled = SettledWatch::default();
        let serials = SerialBlocks::default();
        let models = Mutex::default();
        Self {
            hot,
            durable,
            keys,
            tenant: None,
            settings,
            schemes,
            has_schemes,
            turns,
            settled,
            serials,
            models,
        }
    }

    /// The same as those of a tenant.
    pub(crate) fn of_tenant(self, name: Arc<str>) -> Self {
        Self { tenant: Some(name), ..self }
    }

    /// Remembers a model, so that its dead letters can be understood.
    ///
    /// # Panics
    /// If another model has the same key prefix; or if they are a tenant's, and the model's table is
    /// in one schema for all tenants.
    #[track_caller]
    pub(crate) fn know(&self, model: &'static ModelDescriptor) {
        if self.tenant.is_some() {
            check_for_tenants(model);
        }
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_among(&models, model) {
            self.durable.know(model);
            models.push(model);
        }
    }

    /// The models that this process has a repository or a drainer of.
    pub(crate) fn models(&self) -> Vec<&'static ModelDescriptor> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a row go that has no dead letters any more, as of this offset of its partition.
    pub(crate) async fn let_go(&self, row: &HeldRow, offset: EntryId) -> Result<(), HotStoreError> {
        let key = self.keys.key_of(&row.model, &row.row_id, row.partition);
        self.hot.let_go(&[key], offset).await
    }
}

/// Whether a model is among others.
///
/// # Panics
/// If another one among them has the same key prefix.
#[track_caller]
pub(crate) fn is_among(models: &[&'static ModelDescriptor], model: &ModelDescriptor) -> bool {
    let same_prefix = models.iter().find(|other| other.key_prefix == model.key_prefix);
    let Some(&other) = same_prefix else { return false };
    // A constant may have several addresses, so that only its content tells a model from another;
    // the same address tells it at once, which counts where units of work ask again and again.
    assert!(
        std::ptr::eq(other, model) || other == model,
        "models `{}` of table `{}` and `{}` of table `{}` have the same key prefix `{}`, so that \
         their rows would overwrite each other; give one of them another with \
         `#[kv(key_prefix = \"…\")]`",
        other.name,
        other.table,
        model.name,
        model.table,
        model.key_prefix
    );
    true
}

/// # Panics
/// If the model's table is in one schema for all tenants.
pub(crate) fn check_for_tenants(model: &ModelDescriptor) {
    assert!(
        split(model.table).0.is_none(),
        "model `{}` has the table `{}` for all tenants; leave the schema out of its name, so that \
         each tenant has its own",
        model.name,
        model.table
    );
}
