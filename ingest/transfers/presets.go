package transfers

import (
	"slices"
	"strings"
)

// preset is where one source of files has what. Each field has the names under
// which the source is known to write it, the best one first.
type preset struct {
	name                string
	token, from, to     []string
	value               []string
	time, block         []string
	tx, logIndex, batch []string
	removed             []string
	id, kind, decimals  []string
	needs               []string // columns that tell the source from others
	thousands           string   // the separator of groups
	unique              bool     // tx alone names the log
}

// Auto is the preset that looks at the header.
const Auto = "auto"

// presets are the sources, the most particular first: Auto takes the first that
// fits. docs/import.md cites the header of each.
var presets = []preset{
	{
		name:  "alchemy",
		token: []string{"rawContract.address"}, from: []string{"from"}, to: []string{"to"},
		value: []string{"rawContract.value", "erc1155Metadata.value"},
		time:  []string{"metadata.blockTimestamp"}, block: []string{"blockNum"},
		tx: []string{"uniqueId"}, unique: true,
		id: []string{"erc1155Metadata.tokenId", "erc721TokenId", "tokenId"}, kind: []string{"category"}, decimals: []string{"rawContract.decimal"},
		needs: []string{"rawContract.address"},
	},
	{
		name:  "moralis",
		token: []string{"token_address"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"amount"}, time: []string{"block_timestamp"}, block: []string{"block_number"},
		tx: []string{"transaction_hash"}, logIndex: []string{"log_index"},
		id: []string{"token_id"}, kind: []string{"contract_type"},
		needs: []string{"contract_type", "token_id", "amount"},
	},
	{
		name:  "moralis",
		token: []string{"address"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"value"}, time: []string{"block_timestamp"}, block: []string{"block_number"},
		tx: []string{"transaction_hash"}, logIndex: []string{"log_index"}, decimals: []string{"token_decimals"},
		needs: []string{"address", "value", "token_decimals"},
	},
	{
		name:  "bigquery",
		token: []string{"address"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"quantity"}, time: []string{"block_timestamp"}, block: []string{"block_number"},
		tx: []string{"transaction_hash"}, logIndex: []string{"event_index"}, batch: []string{"batch_index"}, removed: []string{"removed"},
		id: []string{"token_id"}, kind: []string{"event_type"},
		needs: []string{"address", "event_index", "quantity"},
	},
	{
		name:  "covalent",
		token: []string{"contract_address"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"delta"}, time: []string{"block_signed_at"}, block: []string{"block_height"},
		tx: []string{"tx_hash"}, logIndex: []string{"log_offset"}, decimals: []string{"contract_decimals"},
		needs: []string{"contract_address", "delta"},
	},
	{
		name:  "cryo",
		token: []string{"erc20", "erc721", "erc1155"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"value_string", "value_binary", "value"}, time: []string{"block_timestamp", "timestamp"}, block: []string{"block_number"},
		tx: []string{"transaction_hash"}, logIndex: []string{"log_index"},
		id:    []string{"token_id_string", "token_id_binary", "token_id"},
		needs: []string{"from_address", "to_address", "log_index", "erc20"},
	},
	{
		name:  "dune",
		token: []string{"contract_address"}, from: []string{"from"}, to: []string{"to"},
		value: []string{"amount_raw"}, time: []string{"block_time"}, block: []string{"block_number"},
		tx: []string{"tx_hash"}, logIndex: []string{"evt_index"}, kind: []string{"token_standard"},
		needs: []string{"contract_address", "amount_raw", "block_time"},
	},
	{
		name:  "dune",
		token: []string{"contract_address"}, from: []string{"from"}, to: []string{"to"},
		value: []string{"amount"}, time: []string{"block_time"}, block: []string{"block_number"},
		tx: []string{"tx_hash"}, logIndex: []string{"evt_index"}, id: []string{"token_id"}, kind: []string{"token_standard"},
		needs: []string{"contract_address", "token_id", "amount", "block_time"},
	},
	{
		name:  "dune",
		token: []string{"contract_address"}, from: []string{"from"}, to: []string{"to"},
		value: []string{"value", "values"}, time: []string{"evt_block_time"}, block: []string{"evt_block_number"},
		tx: []string{"evt_tx_hash"}, logIndex: []string{"evt_index"}, id: []string{"id", "ids", "tokenId"},
		needs: []string{"contract_address", "evt_block_time"},
	},
	{
		name:  "etherscan", // CSV
		token: []string{"ContractAddress", "Contract Address"}, from: []string{"From"}, to: []string{"To"},
		value: []string{"TokenValue", "Quantity", "Value", "Amount"}, time: []string{"UnixTimestamp"}, block: []string{"Blockno"},
		tx: []string{"Transaction Hash", "Txhash"}, id: []string{"TokenId", "Token ID", "Tokenid"}, kind: []string{"Type"},
		needs: []string{"UnixTimestamp", "From", "To"}, thousands: ",",
	},
	{
		name:  "etherscan", // API
		token: []string{"contractAddress"}, from: []string{"from"}, to: []string{"to"},
		value: []string{"tokenValue", "value"}, time: []string{"timeStamp"}, block: []string{"blockNumber"},
		tx: []string{"hash"}, id: []string{"tokenID"}, decimals: []string{"tokenDecimal"},
		needs: []string{"contractAddress", "timeStamp"},
	},
	{
		name:  "ethereum-etl",
		token: []string{"token_address"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"value", "values"}, time: []string{"block_timestamp"}, block: []string{"block_number"},
		tx: []string{"transaction_hash"}, logIndex: []string{"log_index"}, removed: []string{"removed"},
		id: []string{"token_id", "ids"},
	},
	{
		name:  "bigquery", // crypto_ethereum.token_transfers has the names of ethereum-etl
		token: []string{"token_address"}, from: []string{"from_address"}, to: []string{"to_address"},
		value: []string{"value"}, time: []string{"block_timestamp"}, block: []string{"block_number"},
		tx: []string{"transaction_hash"}, logIndex: []string{"log_index"}, removed: []string{"removed"},
	},
}

// statementPreset is where files of balances are known to have what.
var statementPreset = preset{
	name:  "balances",
	token: []string{"token_id", "token_address", "contract_address", "token", "TokenAddress"},
	to:    []string{"holder_id", "holder", "address", "wallet_address", "owner_address", "owner", "account"},
	value: []string{"balance", "balance_raw", "weight_exact", "weight", "amount"},
	time:  []string{"time", "block_timestamp", "block_time", "timestamp", "start", "day", "block_date", "date"},
	block: []string{"block_number"},
	id:    []string{"erc1155_id"},
}

var (
	validFrom = []string{"valid_from", "start"}
	validTo   = []string{"valid_to", "end"}
)

func knownPreset(name string) bool {
	return name == Auto || slices.ContainsFunc(presets, func(p preset) bool { return p.name == name })
}

// PresetNames are the names that Options.Preset takes.
func PresetNames() []string {
	return []string{"ethereum-etl", "bigquery", "etherscan", "dune", "cryo", "covalent", "alchemy", "moralis", Auto}
}

func presetNames() string { return strings.Join(PresetNames(), ", ") }

// choose returns the preset of a name that fits a header best: one whose
// particular columns are all there, else the last of that name.
func choose(name string, header []string) *preset {
	fallback := -1
	for i := range presets {
		p := &presets[i]
		if name != "" && name != Auto && p.name != name {
			continue
		}
		fits := true
		for _, column := range p.needs {
			fits = fits && slices.Contains(header, column)
		}
		if fits {
			return p
		}
		fallback = i
	}
	if fallback < 0 {
		return &presets[len(presets)-2]
	}
	return &presets[fallback]
}
