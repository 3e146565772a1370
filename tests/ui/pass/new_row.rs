//! Every form of what is filled in of a new row, under the lints of a careful crate.

#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub)]

use kv_runtime::{KvModel, KvNewRow, KvSerial, KvVersioned};

/// A number of its own.
#[derive(Debug, Clone, PartialEq, kv_runtime::KvValue)]
pub struct TicketId(i32);

/// A ticket.
#[derive(Debug, Clone, PartialEq, KvModel)]
pub struct Ticket {
    /// Which one it is.
    #[kv(id, serial)]
    pub id: TicketId,
    /// What it is about.
    pub title: String,
    /// Of which kind it is.
    pub r#type: i32,
    /// No longer filled.
    #[deprecated]
    #[kv(default = None)]
    pub old: Option<String>,
    /// A calculation, with commas.
    #[kv(default = [1, 2, 3].into_iter().fold(0, |sum, each| sum + each), rename = "w")]
    pub weight: i64,
    #[kv(version)]
    version: i64,
}

mod inner {
    use kv_runtime::KvModel;

    #[derive(KvModel)]
    pub(crate) struct Everything {
        #[kv(id, default = -1)]
        pub(crate) id: i64,
        #[kv(default = "new".to_owned())]
        pub(crate) status: String,
    }
}

mod schema {
    diesel::table! {
        articles (id) {
            id -> BigInt,
            title -> Text,
            rank -> Nullable<BigInt>,
        }
    }
}

/// An article.
#[derive(Debug, KvModel)]
#[kv(table = schema::articles)]
pub struct Article {
    /// Which one it is.
    #[kv(id, serial)]
    pub id: i64,
    /// What it is about.
    pub title: String,
    /// Filled by PostgreSQL.
    #[kv(read_only)]
    pub rank: Option<i64>,
}

macro_rules! model {
    ($name:ident, $default:expr) => {
        #[derive(KvModel)]
        struct $name {
            #[kv(id)]
            id: i64,
            #[kv(default = $default)]
            seats: i32,
        }
    };
}

model!(FromMacro, 2 * 3);

#[test]
fn it_is_taken() {
    let new = NewTicket { title: "Leak".to_owned(), r#type: 7 };
    let ticket = new.into_model(5).expect("it fits");
    assert_eq!((ticket.id.clone(), ticket.weight, ticket.row_version()), (TicketId(5), 6, 0));
    assert!(Ticket::serial_id(i64::MAX).is_err());
    assert_eq!(Ticket::DESCRIPTOR.serial, Some(0));
    assert!(Ticket::DESCRIPTOR.id_is_fresh);

    let article = NewArticle { title: "News".to_owned() }.into_model(3).expect("it fits");
    assert_eq!((article.id, article.rank), (3, None));
    let insert = diesel::insert_into(schema::articles::table).values(&article);
    let sql = diesel::debug_query::<diesel::pg::Pg, _>(&insert).to_string();
    assert!(!sql.contains("rank"), "{sql}");

    let everything = inner::NewEverything {}.into_model(0).expect("nothing is numbered");
    assert_eq!((everything.id, &*everything.status), (-1, "new"));
    let row = NewFromMacro { id: 1 }.into_model(0).expect("nothing is numbered");
    assert_eq!((row.id, row.seats), (1, 6));
}
