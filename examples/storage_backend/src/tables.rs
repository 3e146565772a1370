//! The list of the models, for their tables and for who drains them.

use kv_runtime::schema::Schema;

use crate::models::{
    Bsp, BspFile, BspMultiaddress, Bucket, File, FilePeerId, Msp, MspFile, MspMultiaddress,
    Multiaddress, PaymentStream, PeerId, ServiceState,
};

/// All models, parents before their children.
pub fn all() -> Schema {
    Schema::new()
        .model::<ServiceState>()
        .model::<Multiaddress>()
        .model::<PeerId>()
        .model::<Bsp>()
        .model::<Msp>()
        .model::<Bucket>()
        .model::<File>()
        .model::<BspMultiaddress>()
        .model::<MspMultiaddress>()
        .model::<BspFile>()
        .model::<MspFile>()
        .model::<FilePeerId>()
        .model::<PaymentStream>()
}
