"""Telephone numbers as people dial them, as E.164. Knows nothing of messages, so that any Python can test it."""

from dataclasses import dataclass

# E.164: country code and number have at most 15 digits. What is shorter than this is an extension or a service number.
DIGITS_MAX = 15
DIGITS_MIN = 7
SEPARATORS = str.maketrans("", "", " -./()")


@dataclass(frozen=True)
class Plan:
    """How a country dials: its code, what comes before national numbers, and what before international ones."""

    code: str
    trunk: str
    international: str

    def e164(self, dialled: str) -> str | None:
        """With +, or None if this is no number, or none that can be told from an extension."""
        number = dialled.translate(SEPARATORS)
        if number.startswith("+"):
            digits = number[1:]
        elif number.startswith(self.international):
            digits = number[len(self.international) :]
        elif self.trunk and number.startswith(self.trunk):
            digits = self.code + number[len(self.trunk) :]
        else:
            return None
        is_number = digits.isascii() and digits.isdigit() and DIGITS_MIN <= len(digits) <= DIGITS_MAX
        return f"+{digits}" if is_number else None


PLANS = {
    "AT": Plan("43", "0", "00"),
    "AU": Plan("61", "0", "0011"),
    "CH": Plan("41", "0", "00"),
    "DE": Plan("49", "0", "00"),
    "FR": Plan("33", "0", "00"),
    "GB": Plan("44", "0", "00"),
    "IT": Plan("39", "", "00"),
    "JP": Plan("81", "0", "010"),
    "US": Plan("1", "1", "011"),
}


def plan(country: str) -> Plan:
    """Raises ValueError for a country that is not in `PLANS`."""
    try:
        return PLANS[country]
    except KeyError:
        raise ValueError(f"{country!r} is none of the countries {', '.join(PLANS)}") from None
