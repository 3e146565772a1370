//! Parents with what they are associated with: written as one unit of work.

use kv_runtime::{Error, KvModel};

use super::KvStorage;
use crate::models::{
    Bsp, BspMultiaddress, File, FilePeerId, Msp, MspMultiaddress, NewBsp, NewFile, NewMsp,
    NewMultiaddress, NewPeerId,
};

impl KvStorage {
    pub(super) async fn bsp_with_addresses(
        &self,
        new: NewBsp,
        addresses: &[Vec<u8>],
    ) -> Result<Bsp, Error> {
        let ids = self.multiaddress_ids(addresses).await?;
        let bsp = self.bsps.new_row(new).await?;
        let bsp_id = bsp.id;
        let link = |multiaddress_id| BspMultiaddress { bsp_id, multiaddress_id };
        self.create_with(bsp, ids.into_iter().map(link)).await
    }

    pub(super) async fn msp_with_addresses(
        &self,
        new: NewMsp,
        addresses: &[Vec<u8>],
    ) -> Result<Msp, Error> {
        let ids = self.multiaddress_ids(addresses).await?;
        let msp = self.msps.new_row(new).await?;
        let msp_id = msp.id;
        let link = |multiaddress_id| MspMultiaddress { msp_id, multiaddress_id };
        self.create_with(msp, ids.into_iter().map(link)).await
    }

    pub(super) async fn file_with_peers(
        &self,
        new: NewFile,
        peers: &[Vec<u8>],
    ) -> Result<File, Error> {
        let ids = self.ids_of_peers(peers).await?;
        let file = self.files.new_row(new).await?;
        let file_id = file.id;
        let link = |peer_id| FilePeerId { file_id, peer_id };
        self.create_with(file, ids.into_iter().map(link)).await
    }

    /// Creates a row together with its associations.
    async fn create_with<P: KvModel, L: KvModel>(
        &self,
        parent: P,
        links: impl Iterator<Item = L>,
    ) -> Result<P, Error> {
        let links: Vec<L> = links.collect();
        let unit = self.kv.transaction(async |unit| {
            unit.repository::<P>().create(&parent).await?;
            for link in &links {
                unit.repository::<L>().upsert(link).await?;
            }
            Ok::<_, Error>(())
        });
        unit.await?;
        Ok(parent)
    }

    pub(super) async fn delete_bsp_with_addresses(&self, bsp_id: i64) -> Result<(), Error> {
        let links = self.kv.repository::<BspMultiaddress>().query();
        let links = links.filter(|link| link.bsp_id.eq(bsp_id)).load().await?;
        let unit = self.kv.transaction(async |unit| {
            for link in &links {
                let id = (link.bsp_id, link.multiaddress_id);
                unit.repository::<BspMultiaddress>().delete(&id).await?;
            }
            unit.repository::<Bsp>().delete(&bsp_id).await
        });
        unit.await.map(drop)
    }

    pub(super) async fn delete_file_with_peers(&self, file_id: i64) -> Result<(), Error> {
        let links = self.file_peer_ids.query().filter(|link| link.file_id.eq(file_id));
        let links = links.load().await?;
        let unit = self.kv.transaction(async |unit| {
            for link in &links {
                unit.repository::<FilePeerId>().delete(&(link.file_id, link.peer_id)).await?;
            }
            unit.repository::<File>().delete(&file_id).await
        });
        unit.await.map(drop)
    }

    /// The ids of addresses, known or new. They belong to nobody alone, so they are not in
    /// anybody's unit of work.
    async fn multiaddress_ids(&self, addresses: &[Vec<u8>]) -> Result<Vec<i64>, Error> {
        let mut ids = Vec::with_capacity(addresses.len());
        for address in addresses {
            let new = NewMultiaddress { address: address.clone() };
            let row = self.multiaddresses.new_row(new).await?;
            ids.push(self.multiaddresses.get_or_create_by_address(&row).await?.row.id);
        }
        Ok(ids)
    }

    /// The same of peers.
    async fn ids_of_peers(&self, peers: &[Vec<u8>]) -> Result<Vec<i64>, Error> {
        let mut ids = Vec::with_capacity(peers.len());
        for peer in peers {
            let new = NewPeerId { peer: peer.clone() };
            let row = self.peer_ids.new_row(new).await?;
            ids.push(self.peer_ids.get_or_create_by_peer(&row).await?.row.id);
        }
        Ok(ids)
    }
}
