// Random cron patterns, zones and starts, each with its next three times by cron-parser, as tab-separated lines on stdout.
// Arguments: the folder in which cron-parser is installed, a seed. The same arguments give the same lines, as long as node
// has the same time zones.
import { createRequire } from "node:module";

const [folder, seed] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const { CronExpressionParser } = load("cron-parser");
const { version, license } = load("cron-parser/package.json");

const LINES = 2000;
const ZONES = [
  "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo", "Africa/Cairo", "UTC",
];
const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const HOUR = 3_600_000;
const [FROM, TO] = [Date.UTC(2024, 0, 1), Date.UTC(2028, 0, 1)];

// mulberry32
let state = Number(seed) >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const between = (low, high) => low + Math.floor(random() * (high - low + 1));
const one = (list) => list[between(0, list.length - 1)];
const chance = (share) => random() < share;

// A part of a list: a value, a range, or either with a step.
function part(low, high, name) {
  const first = between(low, high);
  const last = between(first, high);
  switch (between(0, 5)) {
    case 0: return `${name(first)}-${name(last)}`;
    case 1: return `${first}-${last}/${between(1, Math.max(1, last - first))}`;
    case 2: return `*/${between(1, Math.ceil((high - low) / 2))}`;
    case 3: return `${first}/${between(1, Math.ceil((high - low) / 2))}`;
    default: return name(first);
  }
}

function field(low, high, star, name = String) {
  if (chance(star)) return "*";
  if (chance(0.35)) return String(between(low, high));
  return Array.from({ length: chance(0.6) ? 1 : between(2, 3) }, () => part(low, high, name)).join(",");
}

const named = (names, low) => (value) => {
  const name = names[(value - low) % names.length];
  return chance(0.5) ? String(value) : chance(0.5) ? name : name.toLowerCase();
};

function days() {
  if (chance(0.08)) return "?";
  if (chance(0.08)) return "L";
  return field(1, 31, 0.6);
}

function weekdays() {
  if (chance(0.08)) return "?";
  if (chance(0.05)) return `${between(0, 6)}L`;
  if (chance(0.05)) return `${between(0, 6)}#${between(1, 4)}`;
  return field(0, 7, 0.6, named(DAYS, 0));
}

function pattern(near) {
  const hour = near && chance(0.6) ? field(0, 4, 0.2) : field(0, 23, 0.3);
  const fields = [field(0, 59, 0.15), hour, days(), field(1, 12, 0.75, named(MONTHS, 1)), weekdays()];
  if (near && chance(0.5)) fields.splice(2, 3, "*", "*", "*");
  if (chance(0.3)) fields.unshift(chance(0.4) ? "0" : field(0, 59, 0.05));
  return fields.join(" ");
}

// The hours in which a zone changes its offset.
function changes(zone) {
  const form = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" });
  const offset = (time) => form.formatToParts(time).find((part) => part.type === "timeZoneName").value;
  const found = [];
  for (let day = FROM, before = offset(day); day < TO; day += 24 * HOUR) {
    const after = offset(day + 24 * HOUR);
    for (let hour = day; before !== after; hour += HOUR) {
      if (offset(hour + HOUR) === after) {
        found.push(hour + HOUR);
        break;
      }
    }
    before = after;
  }
  return found;
}

const turns = new Map(ZONES.map((zone) => [zone, changes(zone)]));
const text = (time) => new Date(time).toISOString().replace(/\.000Z$/, "");
const lines = [];
while (lines.length < LINES) {
  const zone = one(ZONES);
  const near = turns.get(zone).length > 0 && chance(0.6);
  const start = near
    ? one(turns.get(zone)) + between(-30 * 3600, 4 * 3600) * 1000
    : FROM + between(0, (TO - FROM) / 1000 - 1) * 1000;
  const cron = pattern(near);
  try {
    const times = CronExpressionParser.parse(cron, { tz: zone, currentDate: new Date(start) });
    const next = Array.from({ length: 3 }, () => text(times.next().getTime()));
    lines.push([cron, zone, text(start), ...next].join("\t"));
  } catch {
    // It cannot read the pattern, or finds no three times within its own limits.
  }
}
console.log(`# Made by scripts/cron-oracle (make cron-oracle) with cron-parser ${version} (licence: ${license}),`);
console.log(`# seed ${seed}, time zones ${process.versions.tz}. Pattern, zone, start, the next three times; all times in UTC.`);
console.log(lines.join("\n"));
