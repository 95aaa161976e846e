// Opening hours: when a line is open, and how long until it is. Knows nothing of messages, so that node can test it.

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const DAY_MIN = 24 * 60;
const WEEK_MIN = 7 * DAY_MIN;
const MS_PER_MIN = 60_000;

/**
 * `open` maps days to times: `{ 'mon-fri': ['08:00-12:00', '13:00-17:00'], sat: ['09:00-12:00'] }`. Gives spans in minutes since
 * Monday 00:00. Throws what is wrong.
 */
export function parseHours(open) {
  return Object.entries(open).flatMap(([days, times]) =>
    daysOf(days).flatMap((day) => times.map((time) => spanOf(time).map((minute) => day * DAY_MIN + minute))));
}

/** 0 if it is open at that time, `Infinity` if it never is. */
export function minutesUntilOpen(spans, date, zone) {
  const now = minuteOfWeek(date, zone);
  const wait = ([from, to]) => (from <= now && now < to ? 0 : (from - now + WEEK_MIN) % WEEK_MIN);
  return Math.min(...spans.map(wait));
}

/** `+01:00`, in minutes. */
export function parseOffset(text) {
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)$/.exec(text) ?? fail(`${text} is no offset such as +01:00`);
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

function minuteOfWeek(date, { offset, summerTime }) {
  const summer = summerTime === 'eu' && isEuropeanSummer(date) ? 60 : 0;
  const local = new Date(date.getTime() + (offset + summer) * MS_PER_MIN);
  return ((local.getUTCDay() + 6) % 7) * DAY_MIN + local.getUTCHours() * 60 + local.getUTCMinutes();
}

// From 01:00 UTC on the last Sunday of March until 01:00 UTC on the last Sunday of October.
function isEuropeanSummer(date) {
  const changeIn = (month) => {
    const last = new Date(Date.UTC(date.getUTCFullYear(), month + 1, 0, 1));
    return last.getTime() - last.getUTCDay() * DAY_MIN * MS_PER_MIN;
  };
  return changeIn(2) <= date.getTime() && date.getTime() < changeIn(9);
}

function daysOf(text) {
  const [first, last = first] = text.split('-').map((day) => DAYS.indexOf(day));
  if (first < 0 || last < first) fail(`${text} is neither a day such as mon nor days such as mon-fri`);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function spanOf(text) {
  const [, ...parts] = /^(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(text) ?? fail(`${text} is no time such as 09:00-17:00`);
  const [fromHour, fromMinute, toHour, toMinute] = parts.map(Number);
  const [from, to] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute];
  if (from >= to || to > DAY_MIN) fail(`${text} ends before it begins, or after 24:00`);
  return [from, to];
}

function fail(reason) {
  throw new Error(reason);
}
