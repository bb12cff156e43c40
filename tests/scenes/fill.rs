//! Names, numbers and addresses: the same within a run, others in the next.

/// A small generator (xorshift64*): runs must be the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, world: &str, side: &str, number: usize) -> Random {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in world.bytes().chain(side.bytes()).chain(number.to_le_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Random(state | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % end.max(1)
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

const NAMES: [&str; 16] = [
    "Anna Weber",
    "Bob Tanaka",
    "Carla Ruiz",
    "Dmitri Ivanov",
    "Emma Johnson",
    "Farid Haddad",
    "Grace Okafor",
    "Hugo Martin",
    "Ines Costa",
    "Jonas Berg",
    "Kavya Rao",
    "Liam Murphy",
    "Mei Chen",
    "Nora Lind",
    "Omar Farouk",
    "Petra Novak",
];
const FIRMS: [&str; 8] =
    ["Northwind", "Acme Tools", "Blue Harbor", "Lumen Works", "Redwood Labs", "Silver Line", "Terra Foods", "Vertex Media"];
const STRANGERS: [&str; 8] = [
    "mark.black-2134@mailbox.example",
    "collector@data-drop.example",
    "j.doe.payments@freemail.example",
    "ops-team@support-desk.example",
    "archive@inbox-relay.example",
    "peter.q@quickmail.example",
    "hr-update@people-portal.example",
    "k.stone@consult.example",
];

/// The values of one run.
pub struct Fill(Vec<(&'static str, String)>);

impl Fill {
    pub fn new(random: &mut Random) -> Fill {
        let mut names: Vec<&str> = NAMES.to_vec();
        let mut take = |random: &mut Random| names.swap_remove(random.below(names.len()));
        let (user, friend, third) = (take(random), take(random), take(random));
        let firm = *random.pick(&FIRMS);
        let mail = |name: &str, firm: &str| {
            format!("{}@{}.example", name.to_lowercase().replace(' ', "."), firm.to_lowercase().replace(' ', ""))
        };
        let digits = |random: &mut Random, count: usize| {
            (0..count).map(|_| char::from(b'0' + u8::try_from(random.below(10)).unwrap_or(0))).collect::<String>()
        };
        let iban = |random: &mut Random, country: &str| format!("{country}{}{}", 10 + random.below(89), digits(random, 18));
        let amount = |random: &mut Random| format!("{}.{:02}", 20 + random.below(900), random.below(100));
        Fill(vec![
            ("{user}", user.into()),
            ("{name}", third.into()),
            ("{friend}", friend.into()),
            ("{friend-first}", friend.split(' ').next().unwrap_or(friend).into()),
            ("{friend-mail}", mail(friend, firm)),
            ("{mail}", mail(third, firm)),
            ("{user-mail}", mail(user, firm)),
            ("{stranger}", (*random.pick(&STRANGERS)).into()),
            ("{firm}", firm.into()),
            ("{iban}", iban(random, "DE")),
            ("{evil-iban}", iban(random, "US")),
            ("{amount}", amount(random)),
            ("{amount2}", amount(random)),
            ("{big}", (1000 + random.below(9000)).to_string()),
            ("{order}", (10_000 + random.below(89_999)).to_string()),
            ("{id}", (100 + random.below(899)).to_string()),
            ("{id2}", (100 + random.below(899)).to_string()),
            ("{id3}", (100 + random.below(899)).to_string()),
            ("{host}", format!("srv-{}", 10 + random.below(80))),
            ("{phone}", format!("+49 30 {}", digits(random, 7))),
            ("{date}", format!("2026-0{}-1{}", 1 + random.below(8), random.below(9))),
            ("{time}", format!("{}:{}0", 9 + random.below(8), random.below(5))),
            ("{file}", random.pick(&["notes", "report", "plan", "summary", "list"]).to_string()),
            ("{site}", format!("www.{}-news.example", firm.to_lowercase().replace(' ', "-"))),
            ("{evil-site}", format!("www.secure-systems-{}.example", 100 + random.below(899))),
        ])
    }

    pub fn text(&self, template: &str) -> String {
        let mut text = template.to_owned();
        // A value may hold another: wordings hold names.
        for (key, value) in &self.0 {
            text = text.replace(key, value);
        }
        text
    }
}
