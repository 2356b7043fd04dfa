//! The nouns of the service, without any I/O: no tokio, clock, store or randomness in here.

mod account;
mod bulletin;
mod edition;
mod ids;
mod limits;
mod lists;
mod passport;
mod phone;
mod presence;
mod rates;
mod roster;
mod sign_out;

pub use account::{AddPrompt, Properties, Property, Settings, StrangerPolicy, digest};
pub use bulletin::{Bulletin, BulletinError, BulletinText, xml_len};
pub use edition::Edition;
pub use ids::{
    ChannelId, ClaimId, ContactId, ConversationId, Endpoint, Epoch, Generation, GroupId, InboxId, MessageId,
    NodeId, ParticipationId,
};
pub use limits::Limits;
pub use lists::{List, Lists};
pub use passport::{Passport, PassportError};
pub use phone::{PhoneContact, PhoneNumber};
pub use presence::{PersonalMessage, Presence, Status};
pub use rates::{Bucket, Rate, Rates};
pub use roster::{Contact, Group, Roster};
pub use sign_out::SignOut;
