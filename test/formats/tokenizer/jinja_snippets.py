"""Template snippets for jinja_differential.py: a context, hand-written snippets, and a seeded generator of snippets.

Sources of hand-written snippets are named beside them.
"""
import random
import re

CONTEXT = {
    "n": 3, "z": 0, "neg": -7, "big": 123456789, "f": 2.5, "h": 0.125, "t": True, "no": False, "nil": None,
    "s": "Hello World", "e": "", "sp": "  padded\ttext \n", "u": "Grüße ß ǆ 漢字 🙂", "html": "<b a='1'>&\"x\"</b>",
    "ml": "line one\n\nline  three\n", "digits": "12", "real": "3.75", "words": "the quick-brown fox it's (a) [b] o'neill",
    "li": [3, 1, 2, 1], "ls": ["b", "A", "c", "a"], "le": [], "mixed": [1, "a", None, 2.5, True],
    "nest": [[1, [2, 3]], [4]], "pairs": [["a", 1], ["b", 2]],
    "d": {"b": 1, "a": 2, "C": 3}, "de": {}, "trap": {"items": 1, "keys": 2, "pop": 3, "x y": 4, "0": 5},
    "people": [{"name": "Zoe", "age": 5, "a": {"b": 1}}, {"name": "adam", "age": 7, "a": {"b": 2}},
               {"name": "Bob", "age": 5, "a": {"b": 3}}],
    "gaps": [{"name": "x", "role": "user"}, {"role": "tool", "name": None}, {"role": "user"}],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}, {"v": 5, "kids": []}],
}

HAND_WRITTEN = r"""
{{ none is none }}{{ missing is none }}{{ missing is defined }}{{ missing is undefined }}{{ missing is string }}
{{ missing is callable }}{{ missing is sequence }}{{ missing is iterable }}{{ missing is mapping }}{{ missing is number }}
{{ 'a' in missing }}{{ missing in [missing] }}{{ missing == missing2 }}{{ missing != 1 }}
{{ missing.x }}
{{ missing['x'] }}
{{ missing + 1 }}
{{ missing < 1 }}
{{ missing ~ 'a' }}{{ [missing] }}{{ missing|length }}{{ missing|list }}{{ missing|join(',') }}{{ missing|first }}{{ missing|last }}
{{ missing|int }}
{{ missing|upper }}{{ missing|trim }}{{ missing|sort }}{{ missing|sum }}{{ missing|batch(2)|list }}{{ missing|slice(2)|list }}
{{ missing|tojson }}
{{ missing|dictsort }}
{{ missing|items|list }}{{ missing|urlencode }}{{ missing|escape }}{{ missing|wordcount }}{{ missing|default('x') }}
{{ missing[1:] }}
{{ nil[1:] }}
{{ nil.x is defined }}{{ nil['x'] is defined }}{{ nil[0] is defined }}{{ n.x is defined }}
{{ 'a' in nil }}
{{ nil|length }}
{{ nil|list }}
{{ nil|select|list }}{{ nil|map('upper')|list }}{{ nil|selectattr('a')|list }}{{ nil|reject|list }}{{ nil|rejectattr('x')|list }}
{{ nil|int }}{{ nil|float }}{{ nil|string|upper }}{{ nil|default('x') }}{{ nil|default('x', true) }}{{ nil|tojson }}
{{ nil + 'a' }}
{{ 5|map('upper')|list }}
{% for x in nil %}{% endfor %}
{% for x in missing %}a{% else %}none{% endfor %}
{% if people|selectattr('age', 'gt', 100) %}generators are true{% endif %}
{{ people|selectattr('age', 'gt', 5)|list|length }}
{{ people|selectattr('age', 'gt', 5)|length }}
{{ people|map(attribute='name') is sequence }}{{ people|map(attribute='name') is iterable }}
{% set g = li|map('string') %}{{ g|join }}|{{ g|join }}
{% set g = li|select('odd') %}{{ g|first }}{{ g|first }}{{ g|list }}
{{ 2 in (li|select('even')) }}{{ (li|map('int'))[0] is defined }}
{{ li|map('nothing')|first }}
{{ le|map('nothing')|list }}
{{ li|map }}
{{ gaps|selectattr('name')|map(attribute='role')|join }}{{ gaps|rejectattr('name')|list|length }}
{{ gaps|selectattr('name', 'defined')|list|length }}{{ gaps|selectattr('name', 'none')|list }}{{ gaps|map(attribute='name', default='?')|join }}
{{ gaps|selectattr('name.first')|list }}
{{ people|map(attribute='a.b')|sum }}{{ people|sum(attribute='age') }}{{ people|sum('age', 10) }}{{ people|map('attr', 'name')|list }}
{{ people|map(attribute='a')|map(attribute='b')|map('string')|join('-') }}
{{ people|groupby('age') }}{% for k, g in people|groupby('age') %}{{ k }}:{{ g|map(attribute='name')|join(',') }};{% endfor %}
{{ people|sort(attribute='name')|map(attribute='name')|join(' ') }}{{ people|sort(attribute='age,name', reverse=true)|map(attribute='name')|join(' ') }}
{{ people|sort }}
{{ [none, none]|sort }}{{ [none]|sort }}
{{ mixed|sort }}
{{ ls|sort }}{{ ls|sort(true) }}{{ ls|sort(case_sensitive=true) }}{{ ls|unique|list }}{{ ls|unique(true)|list }}{{ ls|min }}{{ ls|max }}{{ le|min }}
{{ d|dictsort }}{{ d|dictsort(true) }}{{ d|dictsort(false, 'value') }}{{ d|dictsort(by='value', reverse=true) }}{{ d|dictsort(by='x') }}
{{ [[1]]|unique|list }}
{{ li|batch(3)|list }}{{ li|batch(3, 'x')|list }}{{ li|slice(3)|list }}{{ li|slice(3, 'x')|list }}{{ li|batch(0)|list }}
{{ li|slice(0)|list }}
{{ li|reverse|list }}{{ s|reverse }}{{ d|reverse|list }}{{ nil|reverse }}
{{ li|reverse|length }}
{{ (li|map('int')|reverse)[0] }}
{{ d.items() }}{{ d.keys() }}{{ d.values() }}{{ d.items()|list }}{{ d|items|list }}{{ d.items() is sequence }}{{ d.keys()|length }}
{{ d.items()[0] is defined }}{{ d.keys()|first }}{{ d.keys()|last }}{{ 'a' in d.keys() }}{{ d.keys() == d.keys() }}{{ d.values() == d.values() }}
{{ d.items()|tojson }}
{{ d.items() + [] }}
{{ trap.items }}
{{ trap['items'] }}{{ trap.pop is defined }}{{ trap['pop'] }}{{ trap.keys()|list }}{{ trap['x y'] }}{{ trap.get('keys') }}{{ trap['nope'] is defined }}
{{ trap.pop() }}
{{ d.update({'x': 1}) }}
{{ li.append(1) }}
{{ li.append is defined }}{{ li.count(1) }}{{ li.index(2) }}{{ d.get('q') }}{{ d.get('q', 7) }}{{ d.copy() }}{{ li.copy() }}
{{ li.index(9) }}
{{ range(3) }}{{ range(1, 8, 2)|list }}{{ range(5)[1:3] }}{{ range(5)[-1] }}{{ range(3) == range(0, 3) }}{{ range(3) is sequence }}{{ 2 in range(3) }}{{ range(3)|length }}{{ range(10)[::3] }}
{{ range(100001)|length }}
{{ range(0) and 1 }}{{ range(2, 2) or 'empty' }}{{ range(5, 0, -2)|list }}
{{ dict(a=1, b=2) }}{{ dict([['x', 1]]) }}{{ dict({'a': 1}, a=2) }}{{ dict.fromkeys(['a', 'b'], 0) }}{{ dict() }}
{{ {'a': 1}.a }}{{ {1: 'x', true: 'y'} }}{{ {1.0: 'f'}[1] }}{{ {(1, 2): 3}[1, 2] }}{{ {none: 1}|tojson }}
{{ {[1]: 2} }}
{{ {(1, 2): 3}|tojson }}
{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1e3 }} {{ 1.5e-3 }} {{ 1_0.5 }} {{ 1e100 }} {{ 123456789.0 * 1e10 }} {{ 0.1 + 0.2 }} {{ 00 }}
{{ 012 }}
{{ 1__0 }}
{{ nest.0.1.0 }}{{ nest[0][1][1] }}{{ nest[0].1 }}
{{ 'a' 'b' "c" }}{{ 'a\nb\x41\u00e9\101\q\'' }}{{ "it's \"q\"" }}
{{ 'unterminated }}
{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7.5 % 2 }} {{ 7.5 // -2 }} {{ 1 / 2 }} {{ 4 / 2 }} {{ 0.0 * -1 }}
{{ 1 / 0 }}
{{ 1 // 0.0 }}
{{ 0 ** -1 }}
{{ -1|abs }}{{ -n|abs }}{{ not 1|abs }}{{ (1, 2) + (3,) }}{{ [1] + [2] }}{{ [1] * 2 }}{{ 2 * (1,) }}{{ 'ab' * 2 }}{{ -1 * 'a' }}{{ true + 1 }}
{{ [1] + (2,) }}
{{ 'a' + 1 }}
{{ 'a' * 'b' }}
{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 == true }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ (1,) <= (1, 0) }}{{ 1 in [1.0] }}{{ 'x' not in 'abc' }}{{ not 1 in [2] }}
{{ 1 < 'a' }}
{{ [1] < (1,) }}
{{ none < none }}
{{ 1 in 'abc' }}
{{ [] in {} }}
{{ [] in d.keys() }}
{{ -3|round(-1, 'ceil') }}{{ -0.2|round(0, 'ceil') }}
{{ 1 in 5 }}
{{ 1 ~ 2 + 3 }}
{{ 'a' ~ 1 ~ none ~ 1.0 ~ true }}{{ 'x' if 0 }}{{ ('x' if 0) is undefined }}{{ 1 if 0 else 2 if 0 else 3 }}{{ 'a' or 'b' and 'c' }}{{ 0 or [] or none }}
{{ 1 if true else missing.x }}
{{ s[1:3] }}{{ s[::-1] }}{{ s[-3:] }}{{ s[20:] }}{{ s[:none] }}{{ li[1:] }}{{ li[::2] }}{{ li[-1] }}{{ li[9] is defined }}{{ u[-1] }}{{ (1, 2, 3)[1:] }}{{ s[true] }}{{ li['a'] is defined }}{{ li[1.0] is defined }}
{{ s[::0] }}
{{ li['a':] }}
{{ li[1, 2] is defined }}{{ s.foo is defined }}{{ s['upper']() }}{{ d['keys']()|list }}
{{ s.nope() }}
{{ n() }}
{{ '%s=%r=%d=%5.2f|%-5s|%05d|%x|%#o|%+d|%c|%%' % (s, s, n, f, 'a', n, 255, 8, n, 'q') }}
{{ '%(a)s-%(b)03d' % d }}{{ '%s' % li }}{{ '%s' % none }}{{ 'x' % [] }}{{ 'x' % {} }}{{ '%.3s|%10.2e|%g|%G' % ('abcdef', 12345.678, 1e-5, 1e20) }}{{ '%*d' % (5, 3) }}{{ '%a' % u }}
{{ '%s %s' % 'a' }}
{{ '%s' % (1, 2) }}
{{ 'x' % 1 }}
{{ '%d' % 'a' }}
{{ '%(x)s' % 1 }}
{{ '%d' % 2.9 }}{{ '%i' % true }}{{ '%x' % -255 }}{{ '%.3d' % 7 }}{{ '% d' % 7 }}{{ '%s' % missing }}
{{ '%x' % 2.0 }}
{{ '%z' % 1 }}
{{ '%s is %s'|format('a', 1) }}{{ '%(k)s'|format(k='v') }}{{ '%s'|format(li) }}{{ '%s=%s, '|format(1, none) }}
{{ '%s'|format }}
{{ '%s'|format(1, k=2) }}
{{ '{} {1}'.format(1, 2) }}
{{ '{} {}'.format(1, 'a') }}{{ '{1}{0}'.format(1, 2) }}{{ '{a[b]} {p.a}'.format(a=d, p={'a': 9}) }}{{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }}
{{ '{:5d}|{:05d}|{:,}|{:_}|{:x}|{:#X}|{:b}|{:+}|{:e}|{:.2f}|{:%}|{:g}'.format(3, 3, 1234567, 1234567, 255, 255, 5, 3, 12345.678, 2.345, 0.25, 0.0001) }}
{{ '{!r} {!s} {!a}'.format('a', 1, 'é') }}{{ '{{}}'.format() }}{{ '{:{}}|'.format('a', 4) }}{{ '{:.2}'.format('abc') }}{{ '{0[1]}'.format(li) }}{{ '{:}'.format(true) }}{{ '{:d}'.format(true) }}
{{ '{}'.format() }}
{{ '{x}'.format(1) }}
{{ '{:d}'.format('a') }}
{{ '{:d}'.format(1.5) }}
{{ '{:5}'.format(none) }}
{{ '{:s}'.format(1) }}
{{ '{'.format() }}
{{ '{:,.2f} {:,} {:_x}'.format(1234567.891, 1234567.5, 1048576) }}{{ '{:.3}'.format(3.0) }}{{ '{:10}|{:<10}|'.format(1.5, 2) }}{{ '{:=+6}'.format(3) }}
{{ '{a}'.format_map({'a': 1}) }}
{{ s.split() }}{{ s.split('o') }}{{ s.split('o', 1) }}{{ s.rsplit('o', 1) }}{{ sp.split() }}{{ sp.rsplit(none, 1) }}{{ sp.split(none, 1) }}{{ s.split(sep='l', maxsplit=1) }}{{ ''.split() }}{{ ''.split(',') }}
{{ s.split('') }}
{{ sp.strip() }}|{{ sp.lstrip() }}|{{ sp.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abc'.strip('ac') }}|{{ s.strip(none) }}
{{ s.startswith('He') }}{{ s.startswith(('x', 'H')) }}{{ s.endswith('d') }}{{ s.startswith('lo', 3) }}{{ s.startswith('') }}{{ s.endswith(('x',)) }}{{ s.startswith('x', 0, 2) }}
{{ s.startswith(['H']) }}
{{ s.startswith(1) }}
{{ s.replace('l', 'L') }}{{ s.replace('l', 'L', 1) }}{{ s.replace('', '-') }}{{ 'ab'.replace('', '-', 2) }}{{ s.replace('zz', 'y') }}
{{ s.replace(1, 2) }}
{{ s.title() }}{{ s.upper() }}{{ s.lower() }}{{ s.capitalize() }}{{ s.swapcase() }}{{ u.upper() }}{{ u.title() }}{{ u.capitalize() }}{{ words.title() }}{{ words|title }}{{ u|title }}{{ 'ΑΣ'.lower() }}{{ 'ﬁ'.upper() }}
{{ s.find('o') }}{{ s.find('o', 5) }}{{ s.rfind('o') }}{{ s.find('zz') }}{{ u.find('漢') }}{{ s.index('W') }}{{ s.count('l') }}{{ s.count('') }}{{ s.count('l', 0, 4) }}
{{ s.index('zz') }}
{{ 'a'.center(4, '*') }}{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '-') }}{{ '-5'.zfill(4) }}{{ 'abc'.center(6) }}|{{ s|center }}|{{ s|center(20) }}|{{ 'a\tb'.expandtabs(4) }}
{{ 'a'.center(4, '**') }}
{{ 'a,b,c'.partition(',') }}{{ 'a,b,c'.rpartition(',') }}{{ 'abc'.partition(',') }}{{ 'abc'.rpartition(',') }}{{ ml.splitlines() }}{{ ml.splitlines(true) }}{{ 'a\x0bb\u2028c\r\nd'.splitlines() }}
{{ ', '.join(ls) }}{{ '-'.join('abc') }}{{ ''.join([]) }}{{ '-'.join(d) }}
{{ ''.join([1]) }}
{{ '12'.isdigit() }}{{ '²'.isdigit() }}{{ '²'.isdecimal() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}{{ ''.isalpha() }}{{ ' \t'.isspace() }}{{ 'Ab'.istitle() }}{{ 'AB'.isupper() }}{{ 'ab1'.islower() }}{{ '1'.islower() }}{{ 'a'.isascii() }}{{ ''.isascii() }}
{{ 'TestHook'.removeprefix('Test') }}{{ 'MiscTests'.removesuffix('Tests') }}
{{ 'ab'.nothing is defined }}{{ 'ab'.__class__ is defined }}{{ d.__class__ is defined }}{{ 'ab'.__len__ is defined }}
{{ s|length }}{{ u|length }}{{ d|length }}{{ n|length }}
{{ 2.5|round }}{{ 3.5|round }}{{ 2.675|round(2) }}{{ 42.55|round(1, 'floor') }}{{ 42.51|round(1, 'ceil') }}{{ 5|round }}{{ 15|round(-1) }}{{ 25|round(-1) }}{{ 1234.5|round(-2) }}{{ true|round }}{{ 7|round(1, 'floor') }}{{ 2.4|round|int }}
{{ 'a'|round }}
{{ 1|round(method='x') }}
{{ '42'|int }}{{ '42.7'|int }}{{ 'x'|int }}{{ 'x'|int(5) }}{{ '0x1f'|int(base=16) }}{{ 'ff'|int(0, 16) }}{{ ' 7 '|int }}{{ '1_000'|int }}{{ '-3'|int }}{{ '+3'|int }}{{ '- 3'|int(9) }}{{ 2.9|int }}{{ true|int }}{{ 'inf'|int(8) }}{{ '1e3'|int }}{{ '0b11'|int(0, 0) }}{{ [1]|int(6) }}
{{ '1.5'|float }}{{ 'x'|float }}{{ 'x'|float(1) }}{{ 'inf'|float }}{{ 'nan'|float }}{{ '1_0.5'|float }}{{ 1|float }}{{ '1e400'|float }}{{ none|float(2) }}{{ '.5'|float }}{{ '5.'|float }}{{ ''|float }}
{{ 1|filesizeformat }}{{ 999|filesizeformat }}{{ 1000|filesizeformat }}{{ 123456789|filesizeformat }}{{ 1024|filesizeformat(true) }}{{ '2048'|filesizeformat(binary=true) }}{{ 1e30|filesizeformat }}
{{ 'x'|filesizeformat }}
{{ ml|indent }}{{ ml|indent(2, true) }}{{ ml|indent(2, blank=true) }}{{ ml|indent('> ') }}{{ 'a'|indent(width=3, first=true) }}{{ ''|indent(2, true) }}|
{{ 5|indent }}
{{ words|truncate(12) }}|{{ words|truncate(12, true) }}|{{ words|truncate(12, false, '…', 0) }}|{{ s|truncate(10) }}|{{ s|truncate(5, leeway=0) }}|{{ 'abcdefghij'|truncate(4, leeway=0) }}
{{ s|truncate(2) }}
{{ words|wordcount }}{{ u|wordcount }}{{ words|wordwrap(10) }}|{{ 'aaaaaaaaaaaa-bbb cc'|wordwrap(5) }}|{{ 'hello-world-again'|wordwrap(8) }}|{{ 'abcdefghijkl'|wordwrap(5, false) }}|{{ ml|wordwrap(6, wrapstring='/') }}|{{ 'one -- two--three'|wordwrap(7) }}
{{ 'a b/c?d=é&~'|urlencode }}{{ {'a b': 'c/d', 'e': 1}|urlencode }}{{ [['k', 'v']]|urlencode }}{{ 5|urlencode }}
{{ html|escape }}{{ html|e }}{{ html|escape|escape }}{{ html|forceescape }}{{ html|escape|forceescape }}{{ html|safe }}{{ html|striptags }}{{ ' <!-- c --> a  <b>b</b> '|striptags }}{{ html|safe is escaped }}{{ html is escaped }}
{{ ('<a>'|safe) + '<b>' }}{{ '<b>' + ('<a>'|safe) }}{{ ('<a>'|safe) ~ '<b>' }}{{ ('%s'|safe) % '<' }}{{ ('{}'|safe).format('<') }}{{ ('<'|safe).join(['<', '>']) }}{{ '<'.join([('>'|safe)]) }}{{ ('a'|safe).upper() }}{{ [('a'|safe)] }}{{ ('a<'|safe)[1:] }}{{ ('<'|safe) * 2 }}
{{ {'name': 'x', 'args': {'a': [1, none, true, 1.0, 'é"\n<']}}|tojson }}{{ d|tojson(indent=2) }}{{ d|tojson(sort_keys=true) }}{{ u|tojson(true) }}{{ d|tojson(separators=(',', ':')) }}{{ [[], {}, [1]]|tojson(indent=1) }}{{ 'a\x7f\x01'|tojson }}{{ d|tojson(indent='\t') }}{{ d|tojson(indent=0) }}{{ {1: 2, 2.5: 3, none: 4, true: 5}|tojson }}
{{ li|map('int')|tojson }}
{{ '"' ~ s|tojson|safe + '"' }}
{{ {'class': 'a', 'b': none, 'c': missing, 'd': 5, 'e': '<'}|xmlattr }}{{ {'a': 1}|xmlattr(false) }}{{ {}|xmlattr }}
{{ {'a b': 1}|xmlattr }}
{{ d|attr('items') is callable }}{{ d|attr('b') is defined }}{{ s|attr('upper')() }}{{ li|attr('append') is defined }}
{{ 4 is divisibleby 2 }}{{ 4 is divisibleby(3) }}{{ 3 is odd }}{{ 3 is even }}{{ -3 is odd }}{{ 2.0 is even }}{{ true is odd }}{{ 4 is not odd }}
{{ 'a' is odd }}
{{ 4 is divisibleby 0 }}
{{ 1 is eq 1 }}{{ 1 is sameas true }}{{ none is sameas none }}{{ li is sameas li }}{{ [] is sameas [] }}{{ 1 is in [1] }}{{ 'a' is in 'abc' }}{{ 1 is lt 2 }}{{ 1 is ge(1) }}{{ 1 is greaterthan 0 }}{{ 1 is ne 2 }}{{ 1 is equalto 1 }}
{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ '123' is lower }}{{ 'aB' is lower }}{{ 5 is upper }}{{ true is boolean }}{{ 1 is boolean }}{{ true is integer }}{{ 1 is integer }}{{ 1.0 is float }}{{ true is number }}{{ d is mapping }}{{ s is sequence }}{{ d is sequence }}{{ li is iterable }}{{ 1 is iterable }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ s.upper is callable }}{{ range is callable }}{{ 'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}{{ 'pprint' is filter }}
{{ 1 is nothing }}
{% if false %}{{ 1 is nothing }}{{ 1|nothing }}{% endif %}ok
{{ 1|nothing if false else 2 }}
{% for x in [1] %}{% if false %}{{ x|nothing }}{% endif %}{% endfor %}ok
{% if false %}{% for x in [1] %}{{ x|nothing }}{% endfor %}{% endif %}ok
{{ 1|nothing }}
{{ 1 is defined(1) }}
{{ s|upper(1) }}
{{ s|replace('l') }}
{{ s|replace(old='l', new='x', count=1) }}{{ s|default(default_value='x') }}{{ li|join(d='-') }}{{ people|join(', ', attribute='name') }}{{ li|join }}{{ [1, none, missing]|join('|') }}
{{ s|trim('Hd') }}{{ 5|trim }}{{ sp|trim }}|{{ s|capitalize }}{{ n|string + 'x' }}{{ s|list }}{{ d|list }}{{ s|first }}{{ s|last }}{{ d|first }}{{ d|last }}{{ (li|map('int'))|list|last }}
{{ li|map('int')|last }}
{{ n|first }}
{% raw %}{{ x }}{% endraw %}
a {%- raw -%}  x  {%- endraw -%}  b
a  {{- ' b ' -}}  c  {{ 'd' }}
{{ '{{' }}{{ '%}' }}{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a':{}} }}
{% if true: %}colon{% endif %}{% for x in li: %}{{ x }}{% endfor %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = (3, 4) %}{{ c }}{{ d2 }}{% set x = 1, %}{{ x }}
{% set a, b = [1] %}
{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }}{{ ', ' if not loop.last }}{% endfor %}
{% for c in 'añ' %}{{ c }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for x in 1, 2, 3 %}{{ x }}{% endfor %}
{% for x in li %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }};{% endfor %}
{% for x in li %}{% for y in ls %}{{ loop.depth }}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for x in li|map('int') %}{{ loop.length }}{{ loop.revindex }}{{ x }}{% endfor %}{% for x in li|select('odd') %}{{ loop.last }}{{ loop.nextitem }}{{ loop.length }};{% endfor %}
{% for x in li if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}{% for x in li if x > 9 %}{% else %}none{% endfor %}
{% for x in li %}{{ loop }}{{ loop.nope is defined }}{{ loop['index'] }}{{ loop|length }}{% endfor %}
{% for x in li %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}|{% for x in li %}{% continue %}{% else %}E{% endfor %}|{% for x in li %}{% break %}{% else %}E{% endfor %}
{% break %}
{% for x in li %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in li %}{% set loop = 1 %}{% endfor %}
{% for n in tree recursive %}{{ n.v }}{{ loop.depth }}{% if n.kids %}({{ loop(n.kids) }}){% endif %}{% endfor %}
{% for n in tree recursive %}{{ n.v }}{{ loop(n.kids) }}{% else %}.{% endfor %}
{% for n in tree %}{{ loop(n.kids) }}{% endfor %}
{% set x = 1 %}{% for i in li %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(x=1, y='a') %}{% for i in li %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns['x'] }}{{ ns.zz is defined }}{{ ns }}
{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}{% set ns.c %}block{% endset %}{{ ns.c }}{{ ns is mapping }}
{% set ns = namespace(_x=1) %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set q.x = 1 %}
{% set d.x = 1 %}
{% set x %}a{{ n }}{% endset %}{{ x }}{% set x | upper | replace('A', 'b') %}abc{% endset %}{{ x }}{% set x %}{% set y = 1 %}{% endset %}{{ y is defined }}
{% if true %}{% set x = 5 %}{% endif %}{{ x }}{% with a=1, b=2 %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ c is defined }}{% with %}{{ n }}{% endwith %}{% with n = 9, m = n %}{{ m }}{% endwith %}
{% filter upper %}a{{ s }}{% endfilter %}{% filter replace('a', 'b')|title %}aaa{% endfilter %}{% print n %}{% print 1, 2 %}
{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, c=5) }}{{ m(a=3) }}{{ m() }}{{ m(1, 2, 3) }}{{ m.name }}{{ m.arguments }}{{ m }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(x=1) }}
{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}{{ m(*[5, 6], **{'z': 1}) }}{{ m(**{'a': 8}) }}
{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*li[:2]) }}{{ m(*missing) }}{{ m(1, *[2]) }}{{ m(b=1, *[2]) }}
{% macro m(a, a2=1, b) %}{% endmacro %}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ n }}{% endcall %}
{% macro m(x) %}[{{ caller(x, 'q') }}]{% endmacro %}{% call(a, b='d') m(7) %}{{ a }}{{ b }}{% endcall %}{% call(a) m(7) %}{% endcall %}
{% macro m() %}{% endmacro %}{% call m() %}x{% endcall %}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% macro m() %}{{ x }}{% endmacro %}{% set x = 3 %}{{ m() }}{% for x in li %}{{ m() }}{% endfor %}
{% macro m() %}x{% endmacro foo %}
{% generation %}a{% set q = 1 %}{{ s }}{% endgeneration %}{{ q is defined }}
{{ raise_exception('no') }}
{{ raise_exception }}
{{ namespace }}
{{ dict(**{'a': 1}) }}{{ s.split(*['o', 1]) }}{{ [1, 2,] }}{{ (1,) }}{{ () }}{{ {'a': 1,} }}
{{ }}
{% if %}{% endif %}
{{ (1] }}
{{ 1 if }}
{% for x in 1 if x else 2 %}{% endfor %}
{% if 1 if 2 else 3 %}{% endif %}
{{ x is string is true }}
{{ s.upper().lower()[0:2]|upper ~ '!' }}{{ (s|upper)|lower|title }}{{ s|upper is upper }}{{ not s is upper }}{{ -f|abs }}{{ (-f)|abs }}
{% if not tools is defined %}a{% endif %}{% if tools is not none and tools is defined %}b{% endif %}{% if 'x' in d and not d.x %}c{% endif %}
{{ [1, 'a', none, true, 1.5, [], {}, (), 'it\'s', "q\"'", 'n\n'] }}{{ {'a': none, 1: true} }}{{ 1e16 }}{{ 1e15 }}{{ 1e-5 }}{{ 0.0001 }}{{ 1.0 }}{{ -0.0 }}{{ 'a\xa0\u200b\U0001F600'|list }}
{% set x = ['a']|map('upper') %}{% for i in x %}{{ i }}{% endfor %}{% for i in x %}{{ i }}{% else %}spent{% endfor %}
{{ True }}{{ False }}{{ None }}{{ true }}{{ none }}
{% set true = 1 %}
{% include 'x' %}
{% unknown %}
{{ loop is defined }}{{ caller is defined }}{{ varargs is defined }}{{ kwargs is defined }}
{{ 'tool_calls' in gaps[0] }}{{ gaps[0].tool_calls is defined and gaps[0].tool_calls }}{{ gaps[1].name is not none }}
{{ (people|map(attribute='name')|list)[::-1] }}{{ people[0]['a']['b'] }}{{ people[0].a.b.real }}{{ 3.7.is_nothing is defined }}
{{ people|rejectattr('age', 'equalto', 5)|map(attribute='name')|first }}{{ li|select('in', [1, 2])|list }}{{ li|reject('eq', 1)|list }}{{ li|select('divisibleby', 2)|list }}{{ ls|map('replace', 'a', 'z')|list }}{{ ls|select('string')|list }}{{ li|map('string')|map('length')|sum }}
{{ [[1], [2]]|sum(start=[]) }}{{ [1.5, 2]|sum }}
{{ ['a']|sum }}
{{ ['a', 'b']|sum(start='') }}
{{ x|d }}{{ x|default }}{{ x.y|default('a') }}
{{ (x|default({})).y|default('a') }}{{ e|default('v', true) }}{{ 0|default(5, boolean=true) }}
""".strip("\n")


def hand_written():
    """One snippet per line. A line of outputs only becomes one snippet per output, so one error hides no others."""
    snippets = []
    for line in HAND_WRITTEN.split("\n"):
        outputs = re.findall(r"\{\{.*?\}\}(?=\{\{|\||$)", line)
        snippets += outputs if "{%" not in line and "{#" not in line and "".join(outputs) == line.replace("|{{", "{{") else [line]
    # Whitespace around blocks needs several lines.
    snippets += ['{% raw %}\n {{ x }}\n{% endraw %}\nb\n',
        'a\n  {% raw -%}\n  x\n  {%+ endraw +%}\nb\n',
        '{# comment #}a{#- c -#} b {# multi\nline #}\nc\na\n  {# c #}\nb\n',
        '{%- if true -%}  x  {%- endif -%}\n  {%+ if true +%}\n y\n  {%- endif %}\n z\n',
        '    {% if true %}\n    x\n    {% endif %}\n    y {% if true %} z {% endif %}\n',
        '{{ s | upper\n  | lower }}{{ 1 +\n 2 }}\n',
        "{{ 'a\nb' }}",
        "{{ strftime_now('[%z|%Z|%%z|%%f|%C|%]') }}", "{{ strftime_now('%f')|length }}", "{{ strftime_now(1) }}", "{{ strftime_now() }}",
        "{% raw %}\n a\n{% endraw %}\nb", "a\n  {% raw -%}\n  x\n  {%+ endraw +%}\nb", "  {% raw %}  x  {% endraw %}  \n",
        "{%- raw +%}x{% endraw %}", "a\n\t{# c #}\nb\n", "x{#- c -#}\n y", "x\n  {#+ c +#}\ny", "{# a #}\n\n{# b #}\n\n",
        "{% if true %}\n  a\n  {% else %}\n  b\n  {% endif %}\n c\n", "  {{ n }}\n  {% if true %}\n", "a\r\nb\rc\n\n",
        "{% set x = 1 -%}   \n\n  {{ x }}  {%- set y = 2 %}\nz", "{{ n }}\n\n{{- n -}}\n\n{{ n }}\n", "\n\n{%+ if t +%}\n a{% endif %}",
        "{% for i in li -%}\n {{ i }}\n{%- endfor %}\n", "\t {% for i in li %}\n {{ i }}\n \t{% endfor %}\n.", "{{+n}}{{-n}}",
        "\u00a0{%- if t %}\u2003{{- n }}{% endif %}", "{%if t%}{{n}}{%endif%}", "{{n}}}", "{ {n} }", "{{ {'a':1}['a'] }}}}", "{%",
        "{{", "{#", "{% raw %}", "#}", "%}", "}}", "", "\n", "\n\n",
    ]
    return snippets


class Generator:
    """Generates expressions and statements from a grammar. Most are valid; some fail on purpose, for example by
    incompatible types."""

    STRINGS = ["s", "e", "sp", "u", "html", "ml", "digits", "words", "'a'", "'b c'", "'x,y'", "'-'"]
    NUMBERS = ["n", "z", "neg", "f", "h", "1", "2", "0", "7", "-3", "1.5", "10", "t"]
    LISTS = ["li", "ls", "le", "mixed", "nest", "pairs", "[1, 2, 3]", "['b', 'a']", "(1, 'x')", "range(4)", "d.keys()", "d.items()", "d.values()"]
    DICTS = ["d", "de", "trap", "{'k': 1, 'l': [2]}", "{1: 'one'}", "dict(a=n)"]
    OTHERS = ["nil", "missing", "none", "true", "false", "people", "gaps", "people[0]", "gaps[1].name", "d.nope", "ns", "m"]
    ROWS = ["people", "gaps", "tree", "le", "nil", "missing"]
    ATTRIBUTES = ["'name'", "'age'", "'role'", "'a.b'", "'nope'", "'v'"]
    TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence",
             "iterable", "callable", "true", "false", "lower", "upper", "odd", "even", "escaped"]
    OPERAND_TESTS = ["eq", "ne", "lt", "le", "gt", "ge", "in", "sameas", "divisibleby", "equalto", "greaterthan"]
    STRING_METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip()", "rstrip()", "split()",
                      "splitlines()", "isdigit()", "isalpha()", "isupper()", "islower()", "isspace()", "isalnum()", "istitle()",
                      "strip('a ')", "split('o')", "split('l', 1)", "rsplit(' ', 1)", "rsplit()", "replace('l', 'r')",
                      "replace('o', '', 1)", "startswith('H')", "endswith(('d', 'x'))", "find('o')", "rfind('o')", "count('l')",
                      "zfill(5)", "center(9)", "ljust(4)", "rjust(4, '.')", "partition(' ')", "rpartition('o')",
                      "removeprefix('H')", "removesuffix('d')", "format(1, a=2)", "join(ls)", "expandtabs(3)"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *options):
        return self.random.choice(options)

    def text(self, depth):
        r = self.random.random()
        if depth <= 0 or r < 0.3:
            return self.random.choice(self.STRINGS)
        return self.pick(
            lambda: f"{self.text(depth - 1)}.{self.random.choice(self.STRING_METHODS)}",
            lambda: f"({self.text(depth - 1)} ~ {self.any(depth - 1)})",
            lambda: f"({self.text(depth - 1)} + {self.text(depth - 1)})",
            lambda: f"{self.text(depth - 1)}[{self.slice()}]",
            lambda: f"({self.any(depth - 1)}|{self.pick('string', 'upper', 'lower', 'title', 'capitalize', 'trim', 'escape', 'tojson', 'safe', 'striptags', 'urlencode')})",
            lambda: f"({self.text(depth - 1)}|{self.pick('center(12)', 'indent(2)', 'truncate(6)', 'replace(1, 2)', 'wordcount', 'reverse', 'wordwrap(7)', 'truncate(5, true, leeway=0)', 'indent(1, true, true)', 'e', 'forceescape', 'list', 'first', 'last', 'length', 'int', 'float')})",
            lambda: f"({self.list(depth - 1)}|join({self.pick('', ', '.join(['1']), repr('-'))}))",
            lambda: f"('%s|%s' % ({self.any(depth - 1)}, {self.any(depth - 1)}))",
            lambda: f"('%{self.pick('d', '5.1f', 'r', '-4s', 'x', '+d', 'g', '05d', 'e', '.2s')}' % {self.any(depth - 1)})",
            lambda: f"'{{:{self.pick('', '>6', '<4', '^7', '05', '.1f', 'd', '+', ',', 'x', 'e', '.2', 'g', '_')}}}'.format({self.any(depth - 1)})",
            lambda: f"({self.list(depth - 1)}|tojson({self.pick('indent=2', 'sort_keys=true', 'ensure_ascii=true', '')}))",
        )()

    def number(self, depth):
        r = self.random.random()
        if depth <= 0 or r < 0.35:
            return self.random.choice(self.NUMBERS)
        return self.pick(
            lambda: f"({self.number(depth - 1)} {self.pick('+', '-', '*', '/', '//', '%', '+', '-')} {self.number(depth - 1)})",
            lambda: f"{self.number(depth - 1)} ** {self.pick('2', '0', '3')}",
            lambda: f"-{self.number(depth - 1)}",
            lambda: f"({self.any(depth - 1)}|{self.pick('length', 'int', 'float', 'abs', 'round', 'int(7)', 'float(1.5)', 'round(1)', 'count')})",
            lambda: f"({self.number(depth - 1)}|round({self.pick('0', '1', '2', '-1')}, {self.pick(*map(repr, ['common', 'ceil', 'floor']))}))",
            lambda: f"({self.list(depth - 1)}|{self.pick('sum', 'min', 'max', 'first', 'last')})",
            lambda: f"({self.number(depth - 1)}|filesizeformat)",
        )()

    def list(self, depth):
        r = self.random.random()
        if depth <= 0 or r < 0.3:
            return self.random.choice(self.LISTS)
        rows, attribute = self.random.choice(self.ROWS), self.random.choice(self.ATTRIBUTES)
        return self.pick(
            lambda: f"({self.list(depth - 1)}|{self.pick('sort', 'list', 'reverse|list', 'unique|list', 'sort(reverse=true)', 'batch(2)|list', 'slice(2)|list', 'slice(2, 0)|list', 'batch(3, none)|list', 'map(' + repr('string') + ')|list', 'reverse')})",
            lambda: f"({self.list(depth - 1)}|{self.pick('select', 'reject')}({self.test_arguments()})|list)",
            lambda: f"({rows}|{self.pick('selectattr', 'rejectattr')}({attribute}{self.pick('', ', ' + self.test_arguments(True))})|list)",
            lambda: f"({rows}|map(attribute={attribute}{self.pick('', ', default=0')})|list)",
            lambda: f"({rows}|{self.pick('sort', 'groupby', 'sum', 'unique', 'min', 'max', 'join')}(attribute={attribute})|list)",
            lambda: f"({self.list(depth - 1)}|map({self.pick(*map(repr, ['upper', 'string', 'int', 'length', 'tojson', 'first', 'list', 'abs', 'trim', 'e']))})|list)",
            lambda: f"({self.list(depth - 1)} + {self.list(depth - 1)})",
            lambda: f"{self.list(depth - 1)}[{self.slice()}]",
            lambda: f"[{self.any(depth - 1)}, {self.any(depth - 1)}]",
            lambda: f"{self.random.choice(self.DICTS)}.{self.pick('items()', 'keys()', 'values()')}",
            lambda: f"({self.random.choice(self.DICTS)}|{self.pick('dictsort', 'items', 'list', 'dictsort(true)')}|list)",
            lambda: f"({self.list(depth - 1)}|select({self.test_arguments()}))",
            lambda: f"{self.text(depth - 1)}.split({self.pick('', repr('o'))})",
        )()

    def test_arguments(self, needed=False):
        if not needed and self.random.random() < 0.15:
            return ""
        if self.random.random() < 0.5:
            return repr(self.random.choice(self.TESTS))
        return f"{self.random.choice(self.OPERAND_TESTS)!r}, {self.any(0)}"

    def slice(self):
        part = lambda: self.pick("", "1", "-1", "2", "0", "-3", "none", "n")
        return self.pick(lambda: self.pick("0", "-1", "1", "9", "'x'", "n"), lambda: part() + ":" + part(),
                         lambda: f"{part()}:{part()}:{self.pick('', '1', '2', '-1')}")()

    def condition(self, depth):
        if depth <= 0:
            return self.any(0)
        return self.pick(
            lambda: f"{self.any(depth - 1)} {self.pick('==', '!=', '<', '>', '<=', '>=')} {self.any(depth - 1)}",
            lambda: f"{self.number(depth - 1)} {self.pick('<', '==')} {self.number(depth - 1)} {self.pick('<', '>=')} {self.number(depth - 1)}",
            lambda: f"{self.any(depth - 1)} {self.pick('in', 'not in')} {self.any(depth - 1)}",
            lambda: f"{self.any(depth - 1)} is {self.pick('', 'not ')}{self.random.choice(self.TESTS)}",
            lambda: f"{self.any(depth - 1)} is {self.random.choice(self.OPERAND_TESTS)}({self.any(depth - 1)})",
            lambda: f"not {self.condition(depth - 1)}",
            lambda: f"({self.condition(depth - 1)}) {self.pick('and', 'or')} ({self.condition(depth - 1)})",
        )()

    def any(self, depth):
        r = self.random.random()
        if r < 0.15:
            return self.random.choice(self.OTHERS)
        if r < 0.25:
            return self.random.choice(self.DICTS)
        if depth > 0 and r < 0.32:
            return f"({self.any(depth - 1)} if {self.condition(depth - 1)}{self.pick('', ' else ' + self.any(depth - 1))})"
        if depth > 0 and r < 0.38:
            return f"({self.any(depth - 1)}|default({self.any(0)}{self.pick('', ', true')}))"
        if depth > 0 and r < 0.42:
            return f"{self.any(depth - 1)}{self.pick('.name', '.items', '[0]', '.x', '.get(1)', '[n]', '.0', '.real', '.index')}"
        if depth > 0 and r < 0.48:
            return f"({self.condition(depth - 1)})"
        return self.pick(self.text, self.number, self.list)(depth)

    def tag(self, body):
        return f"{{%{self.pick('', '', '-', '+')} {body} {self.pick('', '', '-', '+')}%}}"

    def space(self):
        return self.pick("", "", " ", "\n", "  \n ", "\n\n", "x", " y ", "\t")

    def output(self, depth):
        return f"{{{{{self.pick('', '-')} {self.any(depth)} {self.pick('', '-')}}}}}"

    def loop_attribute(self):
        return "loop." + self.pick("index", "index0", "revindex", "first", "last", "length", "depth", "previtem", "nextitem",
                                   "cycle('a', 'b')", "changed(x)", "changed(loop.first)", "revindex0")

    def block(self, depth, in_loop=False):
        parts = []
        for _ in range(self.random.randint(1, 3)):
            parts += [self.space(), self.statement(depth, in_loop)]
        return "".join(parts) + self.space()

    def statement(self, depth, in_loop=False):
        if in_loop and self.random.random() < 0.25:
            return self.pick(f"{{{{ {self.loop_attribute()} }}}}", "{{ x }}", f"{{% if {self.condition(1)} %}}{{% {self.pick('break', 'continue')} %}}{{% endif %}}")
        if depth <= 0:
            return self.output(1)
        t = self.tag
        return self.pick(
            lambda: self.output(2), lambda: self.output(3),
            lambda: t(f"if {self.condition(2)}") + self.block(depth - 1, in_loop) + self.pick("", t(f"elif {self.condition(1)}") + self.space(), t("else") + self.block(depth - 1, in_loop)) + t("endif"),
            lambda: t(f"for x in {self.list(2)}{self.pick('', '', ' if ' + self.condition(1))}") + self.block(depth - 1, True) + self.pick("", t("else") + self.space()) + t("endfor"),
            lambda: t(f"for k, v in {self.pick('d.items()', 'd|items', 'd|dictsort', 'pairs', 'nest')}") + "{{ k }}{{ v }}" + self.block(depth - 1, True) + t("endfor"),
            lambda: t(f"for x in tree recursive") + "{{ x.v }}{{ loop(x.kids) }}" + self.block(0, True) + t("endfor"),
            lambda: t(f"set x = {self.any(2)}"), lambda: t(f"set ns.a = {self.any(2)}"), lambda: t(f"set x, y = {self.list(1)}"),
            lambda: t(f"set x{self.pick('', ' | upper', ' | trim | title')}") + self.block(depth - 1) + t("endset"),
            lambda: t(f"filter {self.pick('upper', 'trim', 'replace(1, 2)', 'indent(2)')}") + self.block(depth - 1) + t("endfilter"),
            lambda: t(f"macro m(a, b={self.any(1)})") + "{{ a }}{{ b }}" + self.pick("", "{{ varargs }}", "{{ caller() if caller }}") + self.block(depth - 1) + t("endmacro") + f"{{{{ m({self.any(1)}{self.pick('', ', b=1', ', 1', ', *li', ', **de')}) }}}}",
            lambda: t("call m(1)") + self.block(depth - 1) + t("endcall"),
            lambda: t(f"with x={self.any(1)}") + self.block(depth - 1, in_loop) + t("endwith"),
            lambda: t("raw").replace("+%}", "%}") + self.pick("{{ x }}", " \n", "{% if %}") + t("endraw"),
            lambda: f"{{#{self.pick('', '-', '+')} c {self.pick('', '-', '+')}#}}",
            lambda: t("generation") + self.block(depth - 1) + t("endgeneration"),
        )()

    def snippet(self):
        if self.random.random() < 0.5:
            return "{{ " + self.any(3) + " }}"
        if self.random.random() < 0.3:
            return "{{ " + self.condition(3) + " }}"
        return "{% set ns = namespace(a=1) %}" + self.block(2)


def generated(seed, count):
    generator = Generator(seed)
    return [generator.snippet() for _ in range(count)]
