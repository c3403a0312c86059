r"""Answers and what the ``math`` grader says of them, by the type of the gold answer.

One row: the gold answer, what is right, what is wrong. Each string is the contents of the box.
Rows marked ``released`` show what the released SPARK code got wrong.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    gold: str
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


INTEGER = (
    Row("4", ("4", "+4", "4.0", "4.", "04", "(4)", "{4}", r"\{4\}", "4/1"), ("3 or 4", "4 or 3")),
    Row("7", ("7", " 7 ", "**7**", "`7`", "$7$", r"\(7\)", r"\[7\]"), ("1 or 2 or 3 or 7", "77")),
    Row("12", ("12", "x = 12", "12 = x", "n=12", "Total = 12", r"\text{Total} = 12", "f(3) = 12"),
        ("1,2", "1, 2", "1 2", "21", "-12", "12x", "twelve", "12, 13", "12 and 13", "about 12")),
    Row("0", ("0", "-0", "+0", "0.0", "0.00"), ("0/5", "", "none", "1", "00001", "-", ".")),
    Row("-5", ("-5", "- 5", "−5", "-5.0", "(-5)", "–5", r"x=-5", "-05"), ("5", "--5", "+-5", "5-")),
    Row("1234", ("1,234", "1234", r"1{,}234", r"1\,234", "1\u202f234", "1234.0", "$1,234$",
                 "1,234.00"),
        ("1 234", "1,23,4", "12,34", "1.234", "1, 234", "123", "(1,234)")),
    Row("1,234", ("1234", "1,234", "1, 234"), ("1.234", "1234.5", "234, 1")),
    Row("100,200", ("100200", "100,200", "100, 200"), ("100", "200, 100", "300")),
    Row("42", ("42", "42 apples", "$42", r"\$42", r"42\text{ cm}", "42%", "42 cm^2", "42 m/s",
               r"42^\circ", "42°", "42 square units", "42 dollars", "x = y = 42"),
        ("30+12", "6*7", r"6 \times 7", "84/2", r"\frac{84}{2}", r"\sqrt{1764}", "42!", "42x",
         "42 or 43", "42 + 0", "50-8", "42 million", "4.2", "42 2", "42 and a half", "x+42",
         "42 less than x", "41 < 42", "42 \\ne 43", "40 + 2 = 42", "42 = 43", "x > 42",
         "1 apple and 42 pears", "42, 42", "{42, 43}", "[42, 43]", "(42, 42)")),
    Row("1000000", ("1e6", "10^6", "10^{6}", r"1 \times 10^6", "1.0e6", r"1\cdot10^{6}",
                    "1 million", "1,000,000", "1000000.00"),
        ("1e7", "10^7", "10^-6", "1,000,00", "1 billion", "6", "10")),
    Row("5", ("5 km", "5\\%"), ("5k", "V", "0.05", "500", "5 6", "5:1")),
    Row("123456789012345678901234567890", ("123456789012345678901234567890",
                                           "123,456,789,012,345,678,901,234,567,890"),
        ("123456789012345678901234567891", "1.2345678901234568e29")),
)  # fmt: skip

DECIMAL = (
    Row("0.5", (".5", "0.50", "1/2", r"\frac{1}{2}", r"\frac12", r"\dfrac{2}{4}", "50%", "½",
                "+0.5", "5e-1", r"5 \times 10^{-1}", "x = 0.5"),
        ("0,5", "5", "0.05", "-0.5", "0.5.1", "1/2/1", "50", "0.4999999999")),
    Row("3.14", ("3.14", "3.140", "$3.14", "314/100"), ("3.1", "3.1416", r"\pi", "3,14", "22/7")),
    Row("0.333333", ("1/3", r"\frac{1}{3}", "0.333333"), ("0.33", "0.3333", "1/4", "0.333334")),
    Row("-2.75", ("-2.75", r"-\frac{11}{4}", "-11/4", r"-2\frac{3}{4}", "-2 3/4", r"\frac{-11}{4}"),
        ("2.75", "-2 1/4", "-2 - 3/4", "-3/4", "-2.705")),
    Row("1.5e-3", ("0.0015", "1.5e-3", r"1.5 \times 10^{-3}", "15e-4", "1.5*10^-3"),
        ("1.5e3", "0.015", "1500", "1.5")),
    Row("2.0", ("2", "2.00", "2."), ("4/2", "2.01", "20")),
)  # fmt: skip

FRACTION = (
    Row(r"\frac{1}{2}", ("1/2", "0.5", r"\frac12", r"\tfrac{1}{2}", r"\frac{3}{6}", "50%",
                         r"\left(\frac{1}{2}\right)", r"\frac{1} {2}", "x = 1/2", "(1)/(2)"),
        ("2/1", "1/3", "-1/2", "1/2 or 1/3", "0.51", "1", "2", "12", "1 2")),
    Row("-3/4", (r"-\frac{3}{4}", r"\frac{-3}{4}", "-0.75", r"\frac{3}{-4}", "-6/8", "-75%"),
        ("3/4", "-4/3", "-3/4x", "-(3/4)/2", "-3 / 4 / 1")),
    Row("1/3", ("1/3", "2/6", "0.333333", r"0.\overline{3}", "0.33333333333", r"33.3333333\%",
                r"\frac{1}{3} \approx 0.333"),
        ("0.3", "0.33", "0.333", "0.33333", "0.343333", r"\frac{1}{3} \approx 0.5", "3", "33%")),
    Row("2/3", ("0.666667", "0.666666", r"0.\overline{6}", "4/6"), ("0.66", "0.67", "0.666668")),
    Row("7/2", ("3.5", r"3\frac{1}{2}", r"3 \frac12", "3 1/2", "3½", "14/4", "3 and 1/2"),
        ("3 + 1/2", "3-1/2", "31/2", "2/7", r"3 \cdot \frac{1}{2}")),
    Row("1,000/3", ("1000/3",), ("333", "333.3")),
)  # fmt: skip

PERCENT = (
    Row("25%", ("25%", r"25\%", "25", "0.25", "1/4", "25 percent", "25.0%", "25 \\%", "25pct"),
        ("2.5%", "0.25%", "2500%", "26%", "25 or 26%", "25 apples%")),
    Row(r"12.5\%", ("12.5", "0.125", "1/8", r"12\frac{1}{2}\%"), ("12", "1.25", "125%")),
    Row("100%", ("1", "100", "100%"), ("10", "1%", "0.1")),
)  # fmt: skip

CURRENCY = (
    Row("$12", ("12", "$12", r"\$12", "12 dollars", "$12.00", "USD 12", "12 USD", "1200 cents",
                "$ 12", "$12 dollars"),
        ("€12", "12 euros", "£12", "$12 or $13", "12 cents", "$1.2", "$12 million", "-$12")),
    Row(r"\$1,250.50", ("1250.5", "$1,250.50", "1,250.50 dollars"), ("1250", "$125.05", "1,25")),
    Row("-$3", ("-3", "-$3", "$-3"), ("3", "$3")),
    Row("€20", ("20", "20 euro", "20 EUR", "€20.00"), ("$20", "20 USD", "2")),
    Row("50 cents", ("50", "$0.50", "0.5 dollars", "50 cent", "50¢"), ("$50", "5 cents", "0.05")),
)  # fmt: skip

UNIT = (
    Row("5 cm", ("5", "5 cm", "5cm", "50 mm", r"5\text{ cm}", r"5\,\mathrm{cm}", "0.05 m",
                 "5 centimeters", "5.0 centimetres", "x = 5 cm"),
        ("5 m", "5 mm", "5 kg", "5 cm^2", "6 cm", "5 cm or 6 cm", "5 inches", "500 cm")),
    Row("3 hours", ("3", "3 h", "180 minutes", "3 hrs", "10800 s"), ("3 minutes", "3 days", "180")),
    Row("60 km/h", ("60", "60 km/h", "60 kilometers per hour", "60 kmph", r"60\text{ km/h}"),
        ("60 mph", "60 m/s", "60 km", "1 km/h")),
    Row(r"12\text{ cm}^2", ("12", "12 cm^2", r"12\ \text{cm}^2", "12 square cm", "0.0012 m^2",
                            r"12\,\mathrm{cm}^{2}", "12 square centimeters", "12 cm²"),
        ("12 cm", "12 cm^3", "12 m^2", "144")),
    Row("90^\\circ", ("90", "90°", "90 degrees", r"90^{\circ}", r"90\degree"), ("9", "90 rad")),
    Row("5 apples", ("5", "5 apples", "5 apple", "5 red apples"), ("6 apples", "5 pears", "five")),
    Row("2 pounds", ("2 lb", "32 ounces", "2 lbs", "2"), ("2 kg", "2 ounces")),
)  # fmt: skip

INTERVAL = (
    Row("(1,2]", ("(1, 2]", r"\left(1, 2\right]", "x \\in (1,2]", "1 < x \\le 2", "1<x<=2",
                  "(1.0, 2]", "2 \\ge x > 1"),
        ("[1,2]", "(1,2)", "[1,2)", "(2,1]", "(1,3]", "1 \\le x \\le 2", "1, 2", "(1,2] or (3,4]")),
    Row("[0,1]", ("[0, 1]", "[0,1.0]", r"0 \le x \le 1", r"x\in[0,1]", "[0; 1]"),
        ("(0,1)", "{0,1}", "0,1", "[1,0]", "0 < x < 1")),
    Row(r"(-\infty, 3)", (r"(-\infty,3)", "x < 3", "(-∞, 3)", "3 > x"),
        (r"(-\infty,3]", "x \\le 3", "x > 3", r"(\infty,3)", "3")),
    Row(r"[2,\infty)", (r"[2, \infty)", r"x \ge 2", r"x \geq 2", r"[2,+\infty)", "x≥2", "x >= 2"),
        ("x > 2", r"(2,\infty)", r"[2,-\infty)", r"x \le 2")),
    Row(r"(-\infty,0)\cup(1,\infty)",
        (r"(1,\infty)\cup(-\infty,0)", r"(-\infty, 0) \cup (1, \infty)", "(-∞,0)∪(1,∞)"),
        (r"(-\infty,0)\cup[1,\infty)", r"(-\infty,0)", r"(-\infty,0), (1,\infty)")),
    Row(r"1 < x \le 2", ("(1,2]", "1 < x \\leq 2", r"2 \geq x > 1"), ("[1,2]", "x = 2", "1")),
)  # fmt: skip

LIST = (
    Row("1, 2", ("1,2", "2, 1", "1 and 2", "1 or 2", r"\{1,2\}", "x = 1, 2", "x=1 or x=2",
                 r"x = 1 \text{ or } x = 2", "2; 1", r"x \in \{2, 1\}", "x=1, x=2", "1.0, 2"),
        ("12", "1", "1, 2, 3", "1, 1", "(1,2)", "[1,2]", "1, 3", "1 2", "1, 2, 2")),
    Row(r"\{1, 2, 3\}", ("3, 2, 1", r"\{3,1,2\}", r"\left\{1,2,3\right\}", "1, 2 and 3"),
        (r"\{1,2\}", "123", r"\{1,2,3,4\}", "(1,2,3)", "6")),
    Row(r"\pm 2", ("2, -2", r"\pm 2", "±2", "-2 or 2", r"x = \pm 2", r"\{-2, 2\}", "x=2, x=-2"),
        ("2", "-2", r"\pm 3", "2, 2", "0")),
    Row(r"1 \pm \sqrt{2}", (r"1+\sqrt{2}, 1-\sqrt{2}", r"1-\sqrt2 \text{ and } 1+\sqrt2"),
        (r"1+\sqrt{2}", r"\pm\sqrt{2}", r"2 \pm \sqrt{2}")),
    Row("x = 1 or x = -3", ("1, -3", "-3 and 1", "x=-3, x=1"), ("1", "3, -1", "x=1, x=3")),
    Row("1,000, 2,000", ("2,000, 1,000", "1000, 2000", "2000 and 1000"), ("1000", "1, 2")),
    Row("10,20,30", ("30, 20, 10", "10, 20, 30", r"\{10,20,30\}"), ("102030", "10,20", "60")),
    Row(r"\frac{1}{2}, 3", ("3, 0.5", "1/2 and 3"), ("3, 2", "1/2", "3.5")),
    Row("apples, pears", ("pears, apples", "Apples and pears"), ("apples", "apples pears")),
    Row("x=1, y=2", ("y = 2, x = 1", "x=1 and y=2"), ("x=2, y=1", "x=1", "1")),
)  # fmt: skip

TUPLE = (
    Row("(1,2)", ("(1, 2)", "( 1 , 2 )", r"\left(1,2\right)", "(1.0, 2)"),
        ("(2,1)", "[1,2]", "1,2", "(1,2,3)", r"\{1,2\}", "(1,2), (3,4)", "12", "(12)")),
    Row(r"(\frac{1}{2}, -3)", ("(0.5,-3)", "(1/2, -3)"), ("(1/2,3)", "(-3,1/2)", "(1/2 -3)")),
    Row("(1,234)", ("(1, 234)", "(1,234)"), ("(1234)", "1234", "(234,1)")),
    Row(r"\langle 1, 2 \rangle", (r"\langle 1,2\rangle",), ("(1,2)", r"\langle 2,1 \rangle")),
    Row("(1,2), (3,4)", ("(3,4), (1,2)", "(1, 2) and (3, 4)"),
        ("(1,2)", "(2,1), (4,3)", "1,2,3,4")),
    Row("3:2", ("3 : 2", "3:2"), ("2:3", "3/2", "3", "32", "3:2:1")),
    Row(r"(x+1, \sqrt{2})", (r"(1+x, \sqrt{2})",), (r"(x, \sqrt{2})", r"(\sqrt{2}, x+1)")),
)  # fmt: skip

EQUATION = (
    Row("x = 4", ("4", "x=4", "4 = x", "x = 4.0", "x= 4"), ("y = 4", "x = 5", "x")),
    Row("y = 2x + 1", ("y=2x+1", "2x+1", "y = 1 + 2x", "y = 2*x+1", "2x - y + 1 = 0", "2x+1=y"),
        ("y = 2x - 1", "x = 2y + 1", "y = 2x", "2x + 1 = 0", "y")),
    Row("x^2 + y^2 = 4", ("y^2+x^2=4", "x^2+y^2-4=0", "4 = x^2 + y^2", "2x^2+2y^2=8"),
        ("x^2+y^2=2", "x^2-y^2=4", "x^2+y^2", "4")),
    Row("f(x) = x^2", ("x^2", "f(x)=x^2", "x*x"), ("f(x) = x", "2x", "f(x)=x^3")),
)  # fmt: skip

EXPRESSION = (
    Row(r"\sqrt{2}", (r"\sqrt2", "sqrt(2)", "√2", r"\frac{2}{\sqrt{2}}", "2^{1/2}", "1.414214",
                      r"\sqrt{2}\text{ cm}", r"x=\sqrt{2}", r"\sqrt{2} \approx 1.41"),
        ("2", "1.41", r"\sqrt{3}", r"-\sqrt{2}", r"\sqrt{2} or 1", r"\sqrt{2}, 1")),
    Row(r"2\pi", (r"\pi \cdot 2", "2pi", "2π", "6.283185", r"2\pi \text{ cm}", r"\frac{4\pi}{2}"),
        ("6.28", r"\pi", "2", r"2\pi^2", r"\pi^2")),
    Row("x^2 + 2x + 1", ("(x+1)^2", "1+2x+x^2", "x**2+2*x+1", "x(x+2)+1"),
        ("x^2+2x", "(x-1)^2", "x^2", "y^2+2y+1", "(x+1)^3")),
    Row(r"\frac{x+1}{x^2-1}", (r"\frac{1}{x-1}", "1/(x-1)"), (r"\frac{1}{x+1}", "x-1")),
    Row("2ab", ("2ba", "2 a b", r"2 \cdot a \cdot b"), ("2a", "2abc", "ab", "2")),
    Row("xy", ("yx", "xy", r"x \cdot y"), ("x", "y", "xyz", "x+y")),
    Row("n", ("n",), ("m", "2n", "nn", "N or n")),
    Row("2^{10}", ("2^10", "1024", "4^5"), ("20", "1023")),
    Row("5!", ("120", "5!"), ("5", "24")),
    Row(r"\infty", (r"+\infty", "∞", r"\infty"), (r"-\infty", "1", "0")),
    Row(r"\frac{\sqrt{3}}{2}", (r"\sqrt{3}/2", r"\frac{1}{2}\sqrt{3}", r"\sqrt{\frac{3}{4}}"),
        (r"\frac{\sqrt{3}}{3}", r"\sqrt{3}", "0.87")),
    Row(r"\sin^2 x + \cos^2 x", ("1", r"\cos^2 x+\sin^2 x"), ("2", r"\sin x + \cos x")),
    Row(r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\4&3\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", "1,2,3,4")),
    Row("3 + 4i", ("4i+3", "3+4i"), ("3-4i", "7", "3+4", "7i")),
    Row("2x + 3", ("3 + 2x", "2x+3"), ("2x", "5x", "2x+3 or 3", "2y+3", "two x plus three")),
)  # fmt: skip

CHOICE = (
    Row("A", ("A", "(A)", "A.", "A)", "A: Correct", r"\text{A}", r"\text{(A)}", "A. 12", "(A) 12",
              "Option A", "**A**", "[A]", "The answer is A"),
        ("B", "AB", "A or B", "A, B", "(B)", "A and C", "1", "apple", "", "An apple", "A: A or B")),
    Row("(C)", ("C", "(C)", "C. 5", r"\textbf{(C)}", r"\textbf{(C)}\ 5"), ("B", "CC", "see", "D")),
)  # fmt: skip

TEXT = (
    Row("ABC", ("ABC", "abc", r"\text{ABC}", "ABC."), ("CBA", "BAC", "AB", "A B C")),
    Row("angle", ("angle", "Angle"), ("glean", "angel", "angles")),
    Row("Tuesday", ("tuesday", r"\text{Tuesday}", "TUESDAY.", "**Tuesday**"), ("Monday", "Tues")),
    Row("no solution", ("No solution", r"\text{no solution}", "no  solution."), ("0", "solution")),
    Row("yes", ("Yes", "yes."), ("no", "y", "A")),
    Row(r"\triangle ABC", (r"\triangle ABC", r"\triangle  ABC"),
        (r"\triangle CBA", "ABC", r"\angle ABC")),
    Row("101_2", ("101_2", "101_{2}"), ("5", "101", "101_3", "110_2")),
    Row("isosceles right triangle", ("Isosceles right triangle",), ("right isosceles triangle",)),
)  # fmt: skip

PUBLISHED = (
    Row(r"\frac 59", ("5/9", r"\frac{5}{9}"), ("59", "5", "9/5")),
    Row(r"\$32,\!348", ("32348", "32,348", r"\$32{,}348"), ("32", "348", "32, 348")),
    Row(r"\frac{270}7\text{ degrees}", (r"\frac{270}{7}", r"\frac{270}{7}^\circ"),
        ("270", "38.57")),
    Row(r"15\mbox{ cm}^2", ("15", "15 cm^2", r"15 \text{ square centimeters}"), ("15 cm", "225")),
    Row(r"\left( 3, \frac{\pi}{2} \right)", (r"(3, \pi/2)", r"\left(3,\frac{\pi}2\right)"),
        (r"(\frac{\pi}{2}, 3)", r"(3, \pi)", r"3, \frac{\pi}{2}")),
    Row("6 - 5i", ("6-5i", "-5i + 6"), ("6+5i", "5-6i", "1")),
    Row("p - q", ("p-q", "-q+p"), ("q-p", "p+q", "p")),
    Row(r"\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix}",
        (r"\begin{pmatrix} -\frac{1}{3} \\ \frac{2}{3} \\ \frac{5}{3} \end{pmatrix}",),
        (r"\begin{pmatrix} 1/3 \\ 2/3 \\ 5/3 \end{pmatrix}", "(-1/3, 2/3, 5/3)")),
    Row(r"70 \sqrt{2}", (r"70\sqrt2", r"\sqrt{9800}"), (r"70", r"\sqrt{140}", "98.99")),
    Row("4210_{5}", ("4210_5", r"4210_{5}"), ("4210", "555", "4210_6")),
    Row(r"1 \pm \sqrt{19}", (r"1+\sqrt{19}, 1-\sqrt{19}", r"x = 1 \pm \sqrt{19}"),
        (r"1+\sqrt{19}", r"1 \pm \sqrt{17}")),
    Row("3R^2", ("3R^2", r"3 \cdot R^{2}"), ("3R", "9R^2", "3")),
    Row(r"\cot x", (r"\frac{\cos x}{\sin x}", r"\cot x", r"1/\tan x"), (r"\tan x", "x")),
    Row(r"137 \frac{1}{2}", ("137.5", r"\frac{275}{2}", "137 1/2"), ("137", "68.5", "1371/2")),
    Row("5.4 \\text{ cents}", ("5.4", "5.4 cents", r"\$0.054"), ("54", "5.4 dollars")),
    Row(r"\text{Evelyn}", ("Evelyn", "evelyn", r"\text{Evelyn}."), ("Evelyn and Debra", "Angela")),
    Row("x \\in [-2,7]", ("[-2,7]", r"-2 \le x \le 7"), ("(-2,7)", "[-2,7)", "-2, 7")),
    Row("-2,1", ("1,-2", "x=-2, x=1", r"-2 \text{ and } 1"), ("-2", "-1,2", "(-2,1)")),
    Row(r"\emptyset", (r"\{\}", "∅", r"\varnothing"), ("0", r"\{0\}", "")),
    Row("(2,3)", ("(x, y) = (2, 3)", "(x,y)=(2,3)", "P = (2,3)"), ("(x,y)=(3,2)", "x=2, y=3")),
    Row("1080", ("1,080", "1080.00", "1,080 miles"), ("10,80", "1.080", "1,080,1,080")),
    Row("145.0", ("145", "145.00"), ("14.5", "1450")),
    Row("72", ("72", "72 clips", "72.", "**72**", r"72 \text{ clips}"),
        ("72 or 48", "48+24", "48")),
    Row(r"\frac{1}{2}", (r"\frac{1}{2} \approx 0.5", r"x \approx 0.5"),
        (r"\frac{1}{2} \approx 2",)),
    Row("4", (r"4 \approx 4.0", r"x = 4"), (r"4 \approx 5", r"5 \approx 4", "4 = 5", "5 = 4")),
    Row("3, 5, 7", ("7,5,3", "3, 5 and 7", "3, 5, and 7"), ("3,5", "357", "3, 5, 7, 9")),
)  # fmt: skip

CASES: dict[str, tuple[Row, ...]] = {
    "integer": INTEGER,
    "decimal": DECIMAL,
    "fraction": FRACTION,
    "percent": PERCENT,
    "currency": CURRENCY,
    "unit": UNIT,
    "interval": INTERVAL,
    "list": LIST,
    "tuple": TUPLE,
    "equation": EQUATION,
    "expression": EXPRESSION,
    "choice": CHOICE,
    "text": TEXT,
    "published": PUBLISHED,
}
