//! The repository's name.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::Model;

// pub type BookingRepository = ::kv_runtime::Repository<Booking>;
pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { runtime, ident, visibility, .. } = model;
    let repository = model.repository_ident();
    let docs = format!(" The repository of [`{ident}`].");
    quote! {
        #[doc = #docs]
        #[allow(dead_code)] // Not every program names it.
        #visibility type #repository = #runtime::Repository<#ident>;
    }
}
