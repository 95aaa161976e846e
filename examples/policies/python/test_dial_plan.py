import unittest

from dial_plan import plan


class DialPlan(unittest.TestCase):
    def check(self, country, dialled, expected):
        self.assertEqual(plan(country).e164(dialled), expected, f"{dialled} in {country}")

    def test_national_and_international(self):
        self.check("DE", "030 1234567", "+49301234567")
        self.check("DE", "0049 (30) 1234567", "+49301234567")
        self.check("US", "1-212-555-0123", "+12125550123")
        self.check("US", "011 49 30 1234567", "+49301234567")
        self.check("AU", "0011 44 20 7946 0958", "+442079460958")

    def test_what_is_e164_already_loses_its_separators(self):
        self.check("DE", "+49-30-1234567", "+49301234567")

    def test_what_is_no_number_or_too_short_stays(self):
        for dialled in ["alice", "", "+", "112", "0110", "4711", "+49", "+1234567890123456", "030x1234567", "0३०१२३४५६७"]:
            self.check("DE", dialled, None)

    def test_a_country_without_trunk_prefix(self):
        self.check("IT", "0669812345", None)
        self.check("IT", "0039 06 69812345", "+390669812345")

    def test_an_unknown_country_is_named(self):
        with self.assertRaisesRegex(ValueError, "'XX' is none of"):
            plan("XX")


if __name__ == "__main__":
    unittest.main()
