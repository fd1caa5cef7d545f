"""Facts of kitchen and household: appliances and cookware."""

from shortlist.store.facts import Department
from shortlist.store.facts import product_type as make

_APPLIANCES = (
    make(
        "kettle",
        facets="colour; capacity: 1/1.5/2 l; material: steel/glass/ceramic",
        price=28.0,
        coded=True,
        says="Boils for tea in two minutes/Drip-free spout and lime filter/Cord winds under the base",
    ),
    make(
        "toaster",
        facets="colour; material: steel/plastic; power: 800/1000/1500 w",
        price=26.0,
        coded=True,
        says="Wide slots for bagels/Six browning steps/Crumb drawer pulls out",
    ),
    make(
        "induction hob",
        "cooktop/stovetop",
        facets="colour; width: 30/60/80 cm; power: 3500/5000/7200 w",
        price=190.0,
        coded=True,
        says="Four zones, no knobs/Touch sliders with child lock/Heats pots without a flame",
    ),
    make(
        "refrigerator",
        "fridge/icebox",
        facets="colour; volume: 120/240/360 l; feature: quiet/digital",
        price=320.0,
        coded=True,
        says="Keeps milk and greens crisp/Door racks for tall bottles/Chills the top shelf first",
    ),
    make(
        "vacuum cleaner",
        facets="colour; feature: cordless/quiet/lightweight; power: 500/800/1000 w",
        price=110.0,
        coded=True,
        says="Lifts crumbs and pet hair/Swivel head for corners/Hard floors and deep pile",
    ),
    make(
        "coffee machine",
        "espresso maker",
        facets="colour; capacity: 1/1.5/2 l; material: steel/plastic",
        price=140.0,
        coded=True,
        says="Fifteen bars and a milk wand/Grinds beans for every cup/Brews at the touch of a key",
    ),
    make(
        "hand blender",
        facets="colour; feature: cordless/quiet; power: 500/800/1000 w",
        price=32.0,
        coded=True,
        says="Purees soup in the pot/Whips batter and sauces/Shaft twists off for rinsing",
    ),
    make(
        "dehumidifier",
        facets="colour; volume: 2/5/10 l; feature: quiet/digital",
        price=95.0,
        coded=True,
        says="Draws moisture from cellars/Stops mould behind cupboards/Tank empties from the front",
    ),
    make(
        "dust bag",
        facets="pack: 5/10/20 pack; material: cotton/polyester",
        price=8.0,
        made_for="vacuum cleaner",
        says="Closes itself when taken out/Traps fine dirt/Five layers against allergens",
    ),
    make(
        "water filter",
        facets="pack: 2/5/10 pack; material: plastic/bamboo",
        price=11.0,
        made_for="coffee machine",
        says="Softens what comes from the tap/Keeps limescale out/Change every two months",
    ),
)

_COOKWARE = (
    make(
        "frying pan",
        "skillet",
        price=24.0,
        facets="width: 20/24/28 cm; material: cast iron/aluminium/steel; feature: non-stick/lightweight",
        says="Sears steaks and eggs/Handle stays cool/Even heat to the rim",
    ),
    make(
        "saucepan",
        price=22.0,
        facets="capacity: 1/1.5/2/3 l; material: steel/aluminium; feature: non-stick/stackable",
        says="Pours from both sides/Lid with a steam hole/For porridge, peas and gravy",
    ),
    make(
        "casserole dish",
        "dutch oven",
        facets="colour; capacity: 2/3/5 l; material: cast iron/ceramic",
        price=42.0,
        plural="casserole dishes",
        says="Slow stews for six/Goes from stove to table/Tight lid keeps juices in",
    ),
    make(
        "baking tray",
        "cookie sheet",
        price=12.0,
        facets="width: 30/40/50 cm; material: aluminium/steel/silicone; feature: non-stick/heavy duty",
        says="Biscuits lift off whole/Rolled rim, no warping/Fits every rail",
    ),
    make(
        "chopping board",
        facets="colour; width: 24/30/40 cm; material: wooden/bamboo/plastic",
        price=14.0,
        says="Gentle on knife edges/Groove for meat juices/Feet that do not slip",
    ),
    make(
        "colander",
        "strainer/sieve",
        facets="colour; width: 20/24/28 cm; material: steel/plastic/silicone",
        price=11.0,
        says="Drains pasta in a moment/Fine holes for berries/Stands firm on three feet",
    ),
    make(
        "cutlery set",
        "flatware/silverware",
        facets="pieces: 16/24/60 pieces; material: steel/wooden; colour",
        price=35.0,
        says="Forks, knives and spoons/Balanced handles, mirror finish/Dinner service for guests",
    ),
    make(
        "jug",
        "pitcher",
        facets="colour; capacity: 0.5/1/1.5/2 l; material: glass/ceramic/plastic",
        price=13.0,
        says="For lemonade and iced tea/Lip pours without drips/Slim enough for the door rack",
    ),
    make(
        "lunch box",
        plural="lunch boxes",
        price=10.0,
        facets="colour; capacity: 0.5/1/1.5 l; feature: insulated/stackable; material: steel/plastic",
        says="Two trays for rice and salad/Clips shut for school and work/Meals stay apart",
    ),
    make(
        "goblet",
        "stemware/wineglass",
        facets="pack: 2/4/6 pack; capacity: 0.3/0.5 l; material: glass/plastic",
        price=15.0,
        says="Thin rim for good wine/Wide bowl, tall stem/Rings clear when you toast",
    ),
)

KITCHEN = Department(
    "Kitchen and household",
    (
        "Keldric",
        "Vornhast",
        "Pellowick",
        "Zumarra",
        "Ardvale",
        "Ostrevik",
        "Saltmere",
        "Cindrel",
        "Gourdain",
        "Vessaly",
        "Brannoch",
    ),
    _APPLIANCES + _COOKWARE,
)
