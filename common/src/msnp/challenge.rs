//! The challenge that a client of MSNP6 and later answers (protocol reference §8).

use md5::{Digest, Md5};

use super::dialect::ChallengeKind;

/// Product ids of official clients and the keys that belong to them. A client may show an old id in a new dialect.
const PRODUCTS: &[(&str, &str)] = &[
    ("msmsgs@msnmsgr.com", "Q1P7W2E4J9R8U3S5"),
    ("PROD0038W!61ZTF9", "VT6PX?UQTM4WM%YR"),
    ("PROD0058#7IL2{QD", "QHDCY@7R1TB6W?5B"),
    ("PROD0061VRRZH@4F", "JXQ6J@TUOGYV@N0M"),
    ("PROD00504RLUG%WL", "I2EBK%PYNLZL5_J4"),
    ("PROD0076ENE8*@AW", "CEQJ8}OE0!WTSWII"),
    ("PROD0090YUAUV{2B", "YMM8C_H7KCQ2S_KL"),
    ("PROD0101{0RM?UBW", "CFHUR$52U_{VIX5T"),
    ("PROD01065C%ZFN6F", "O4BG@C7BWLYQX?5G"),
    ("PROD0112J1LW7%NB", "RH96F{PHI8PPX_TJ"),
    ("PROD0113H11T8$X_", "RG@XY*28Q5QHS%Q5"),
    ("PROD0114ES4Z%Q5W", "PK}_A_0N_K%O?A9S"),
    ("PROD0118R6%2WYOS", "YIXPX@5I2P0UT*LK"),
    ("PROD0119GSJUC$18", "ILTXC!4IXB5FB*PX"),
    ("PROD0120PW!CCV9@", "C1BX{V4W}Q3*10SM"),
];

/// The answer to `challenge` of a client that shows `product_id`, in lower-case hex; nothing for an id that nobody
/// knows.
#[must_use]
pub fn answer(kind: ChallengeKind, challenge: &str, product_id: &str) -> Option<String> {
    let (id, key) = PRODUCTS.iter().find(|(id, _)| *id == product_id)?;
    let digest: [u8; 16] = Md5::new().chain_update(challenge).chain_update(key).finalize().into();
    let digest = match kind {
        ChallengeKind::Plain => digest,
        ChallengeKind::Mixed => mix(digest, challenge, id),
    };
    Some(hex(&digest))
}

/// The salt's answer in MD5 sign-in: MD5 of salt and password, in lower-case hex (§5.4).
#[must_use]
pub fn md5_answer(salt: &str, password: &str) -> String {
    let digest: [u8; 16] = Md5::new().chain_update(salt).chain_update(password).finalize().into();
    hex(&digest)
}

/// The steps 1 to 5 of §8, numbered as there.
fn mix(digest: [u8; 16], challenge: &str, product_id: &str) -> [u8; 16] {
    const MODULUS: u64 = 0x7fff_ffff;
    // 1.
    let h: [u32; 4] = words(&digest).collect::<Vec<_>>().try_into().unwrap_or_default();
    let k = h.map(|word| u64::from(word & 0x7fff_ffff));
    // 2.
    let mut text = [challenge.as_bytes(), product_id.as_bytes()].concat();
    text.resize(text.len().next_multiple_of(8), b'0');
    let w: Vec<u64> = words(&text).map(u64::from).collect();
    // 3.
    let (mut high, mut low) = (0u64, 0u64);
    for pair in w.chunks_exact(2) {
        let a = (pair[0] * 0x0e79_a9c1) % MODULUS + high;
        let a = (a * k[0] + k[1]) % MODULUS;
        high = (pair[1] + a) % MODULUS;
        high = (high * k[2] + k[3]) % MODULUS;
        low = low.wrapping_add(high + a);
    }
    // 4.
    high = (high + k[1]) % MODULUS;
    low = low.wrapping_add(k[3]) % MODULUS;
    // 5. With the words that are not masked.
    let (high, low) = (high as u32, low as u32);
    let mixed = [h[0] ^ high, h[1] ^ low, h[2] ^ high, h[3] ^ low];
    let mut out = [0; 16];
    for (place, word) in out.chunks_exact_mut(4).zip(mixed) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    out
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ChallengeKind, id: &str, challenge: &str, expected: &str) {
        assert_eq!(answer(kind, challenge, id).as_deref(), Some(expected));
    }

    #[test]
    fn plain_vectors() {
        let id = "msmsgs@msnmsgr.com";
        check(ChallengeKind::Plain, id, "15570131571988941333", "8f2f5a91b72102cd28355e9fc9000d6e");
        check(ChallengeKind::Plain, id, "29409134351025259292", "d0c1178c689350104350d99f8c36ed9c");
        check(ChallengeKind::Plain, id, "12345678901234567890", "8ba1bb9d6dbf624fee31a2053af5fdd0");
    }

    #[test]
    fn mixed_vectors() {
        let id = "PROD0090YUAUV{2B";
        check(ChallengeKind::Mixed, id, "22210219642164014968", "85ecb0db8f32113df79ce0892b9a102c");
        check(ChallengeKind::Mixed, id, "36819795137093047918", "e7ad3cb09d3e9e4e7c720175984809e9");
        check(ChallengeKind::Mixed, id, "21948129323261853323", "59bcf63ed21f44906c3d3e121ddbed65");
        check(ChallengeKind::Mixed, id, "41525959199453244913", "dcb8ff529e4dd12cc43389851128d2db");
        let id = "PROD0113H11T8$X_";
        check(ChallengeKind::Mixed, id, "11533365622852247127", "f086d1ded067186deca8dba2231602cf");
        check(ChallengeKind::Mixed, id, "237191752526424888127371168", "65b6b623c649c25629af048d34066040");
    }

    #[test]
    fn an_unknown_product_has_no_answer() {
        assert_eq!(answer(ChallengeKind::Plain, "1", "PROD"), None);
    }

    #[test]
    fn md5_sign_in_vector() {
        assert_eq!(md5_answer("1013928519.693957190", "correct horse"), "ca119f98ef5b826b095287c249ca8e87");
    }
}
