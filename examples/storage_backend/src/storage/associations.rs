//! Parents with what they are associated with: written as one unit of work.

use kv_runtime::Error;

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
        let multiaddress_ids = self.multiaddress_ids(addresses).await?;
        let bsp = self.bsps.new_row(new).await?;
        let unit = self.kv.transaction(async |unit| {
            unit.repository::<Bsp>().create(&bsp).await?;
            let links = unit.repository::<BspMultiaddress>();
            for &multiaddress_id in &multiaddress_ids {
                links.upsert(&BspMultiaddress { bsp_id: bsp.id, multiaddress_id }).await?;
            }
            Ok::<_, Error>(())
        });
        unit.await?;
        Ok(bsp)
    }

    pub(super) async fn msp_with_addresses(
        &self,
        new: NewMsp,
        addresses: &[Vec<u8>],
    ) -> Result<Msp, Error> {
        let multiaddress_ids = self.multiaddress_ids(addresses).await?;
        let msp = self.msps.new_row(new).await?;
        let unit = self.kv.transaction(async |unit| {
            unit.repository::<Msp>().create(&msp).await?;
            let links = unit.repository::<MspMultiaddress>();
            for &multiaddress_id in &multiaddress_ids {
                links.upsert(&MspMultiaddress { msp_id: msp.id, multiaddress_id }).await?;
            }
            Ok::<_, Error>(())
        });
        unit.await?;
        Ok(msp)
    }

    pub(super) async fn file_with_peers(
        &self,
        new: NewFile,
        peers: &[Vec<u8>],
    ) -> Result<File, Error> {
        let peer_ids = self.ids_of_peers(peers).await?;
        let file = self.files.new_row(new).await?;
        let unit = self.kv.transaction(async |unit| {
            unit.repository::<File>().create(&file).await?;
            let links = unit.repository::<FilePeerId>();
            for &peer_id in &peer_ids {
                links.upsert(&FilePeerId { file_id: file.id, peer_id }).await?;
            }
            Ok::<_, Error>(())
        });
        unit.await?;
        Ok(file)
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
