import assert from 'node:assert/strict';
import test from 'node:test';

import { minutesUntilOpen, parseHours, parseOffset } from './hours.js';

const OFFICE = parseHours({ 'mon-fri': ['08:00-12:00', '13:00-17:00'], sat: ['09:00-12:00'] });
const UTC = { offset: 0 };
const BERLIN = { offset: 60, summerTime: 'eu' };

const until = (time, zone = UTC, spans = OFFICE) => minutesUntilOpen(spans, new Date(time), zone);

test('open, closed over noon, over night and over the weekend', () => {
  assert.equal(until('2026-11-23T08:00:00Z'), 0);
  assert.equal(until('2026-11-23T12:15:00Z'), 45);
  assert.equal(until('2026-11-23T17:00:00Z'), 15 * 60);
  assert.equal(until('2026-11-28T12:00:00Z'), 44 * 60);
});

test('a line without hours is never open', () => {
  assert.equal(until('2026-11-23T08:00:00Z', UTC, []), Infinity);
});

test('summer time of the EU begins and ends at 01:00 UTC', () => {
  const sunday = parseHours({ sun: ['02:00-03:00'] });
  assert.equal(until('2026-03-29T00:59:00Z', BERLIN, sunday), 1, '01:59, then it is 03:00');
  assert.notEqual(until('2026-03-29T01:00:00Z', BERLIN, sunday), 0);
  assert.equal(until('2026-10-25T00:30:00Z', BERLIN, sunday), 0, '02:30 of summer');
  assert.equal(until('2026-10-25T01:30:00Z', BERLIN, sunday), 0, '02:30 again');
});

test('what is wrong is named', () => {
  assert.throws(() => parseHours({ monday: [] }), /monday is neither a day/);
  assert.throws(() => parseHours({ 'fri-mon': [] }), /fri-mon is neither a day/);
  assert.throws(() => parseHours({ mon: ['9-17'] }), /9-17 is no time/);
  assert.throws(() => parseHours({ mon: ['17:00-09:00'] }), /ends before it begins/);
  assert.throws(() => parseOffset('CET'), /CET is no offset/);
  assert.equal(parseOffset('-03:30'), -210);
});
