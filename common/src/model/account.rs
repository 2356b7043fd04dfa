//! What an account keeps about its owner's wishes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `BLP`: how people on neither the allow nor the block list are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StrangerPolicy {
    /// `AL`: as allowed.
    #[default]
    Allow,
    /// `BL`: as blocked.
    Block,
}

/// `GTC`: whether the client asks its user when someone adds them. Advisory; only stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AddPrompt {
    /// `A`
    #[default]
    Ask,
    /// `N`
    Never,
}

/// A property of a principal that contacts may see (`PRP`, `BPR`, protocol reference §6.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Property {
    /// `PHH`
    HomePhone,
    /// `PHW`
    WorkPhone,
    /// `PHM`
    MobilePhone,
    /// `MOB`: contacts may page my mobile.
    MobilePaging,
    /// `MBE`: the mobile device is enabled.
    MobileEnabled,
    /// `WWE`: "direct device" state.
    DirectDevice,
    /// `HSB`: has a blog.
    HasBlog,
}

impl Property {
    /// All of them, in the order in which SYN sends them.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::HomePhone, "PHH"),
        (Self::WorkPhone, "PHW"),
        (Self::MobilePhone, "PHM"),
        (Self::MobilePaging, "MOB"),
        (Self::MobileEnabled, "MBE"),
        (Self::DirectDevice, "WWE"),
        (Self::HasBlog, "HSB"),
    ];

    /// Whether those who have its owner on their forward list keep it with the contact and are told of it with their
    /// lists (§6.5). The others say something of the owner's own client or device.
    #[must_use]
    pub fn is_kept_by_contacts(self) -> bool {
        match self {
            Self::HomePhone | Self::WorkPhone | Self::MobilePhone | Self::MobilePaging | Self::HasBlog => true,
            Self::MobileEnabled | Self::DirectDevice => false,
        }
    }

    /// Those that contacts keep, in the order in which SYN sends them.
    pub fn kept_by_contacts() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(property, _)| property).filter(|property| property.is_kept_by_contacts())
    }

    /// The three letters on the wire.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Reads the three letters.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, c)| *c == code).map(|(property, _)| property)
    }
}

/// Properties that are set, with their decoded values.
pub type Properties = BTreeMap<Property, String>;

/// 32 bits over the properties that contacts keep, the same on every node: whoever has other copies finds that out. An empty
/// value counts as none. (FNV-1a.)
#[must_use]
pub fn digest(properties: &Properties) -> u32 {
    let kept = properties.iter().filter(|(property, value)| property.is_kept_by_contacts() && !value.is_empty());
    let bytes =
        kept.flat_map(|(property, value)| property.code().bytes().chain(value.bytes()).chain(std::iter::once(0)));
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The settings of an account, all changed by its own session only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The name that contacts see, decoded.
    pub friendly_name: String,
    /// `BLP`
    pub strangers: StrangerPolicy,
    /// `GTC`
    pub add_prompt: AddPrompt,
    /// Phones and the like.
    pub properties: Properties,
    /// Rises by one with each edit of a list or setting; starts at 1 (protocol reference §6.5).
    pub list_version: u64,
    /// Milliseconds since 1970 of the last edit of a list.
    pub lists_changed: u64,
    /// Milliseconds since 1970 of the last edit of a setting.
    pub settings_changed: u64,
    /// A digest of what others write into the roster (the reverse list, their names and properties) when its owner's
    /// session last stamped it: what they changed while the owner was away shows as a difference at sign-in, and raises
    /// the version then.
    pub reverse_digest: u64,
}
