package transfers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The headers are those that each source is documented to write; docs/import.md cites
// them.
func TestPresetsReadTheHeadersOfTheirSources(t *testing.T) {
	t.Parallel()
	const (
		a = "0x00000000000000000000000000000000000000aa"
		b = "0x00000000000000000000000000000000000000bb"
		c = "0x00000000000000000000000000000000000000cc"
	)
	moved := []string{c + " " + a + " 100-open x5", c + " " + a + " 100-160 x5", c + " " + a + " 160-open x3", c + " " + b + " 160-open x2"}
	id7 := []string{c + "/7 " + a + " 100-open x5", c + "/7 " + a + " 100-160 x5", c + "/7 " + a + " 160-open x3", c + "/7 " + b + " 160-open x2"}
	one := []string{c + "/7 " + a + " 100-open", c + "/7 " + a + " 100-160", c + "/7 " + b + " 160-open"}
	for name, tt := range map[string]struct {
		preset, text string
		opt          Options
		want         []string
	}{
		"ethereum-etl": {"ethereum-etl", "token_address,from_address,to_address,value,transaction_hash,log_index,block_number\n" +
			"C,ZERO,A,5,0x01,0,7\nC,A,B,2,0x02,1,9\n", Options{Blocks: []string{"blocks"}}, moved},
		"bigquery": {"ethereum-etl", "token_address,from_address,to_address,value,transaction_hash,log_index,block_timestamp,block_number,block_hash\n" +
			"C,ZERO,A,5,0x01,0,1970-01-01 00:01:40 UTC,7,0x0\nC,A,B,2,0x02,1,1970-01-01 00:02:40 UTC,9,0x0\n", Options{}, moved},
		"bigquery, goog_blockchain": {"bigquery", "block_hash,block_number,block_timestamp,transaction_hash,transaction_index,event_index,batch_index,address,event_type,event_hash,event_signature,operator_address,from_address,to_address,token_id,quantity,removed\n" +
			"0x0,7,1970-01-01 00:01:40 UTC,0x01,0,0,0,C,ERC-1155,0x,t,,ZERO,A,7,5,false\n0x0,9,1970-01-01 00:02:40 UTC,0x02,0,1,0,C,ERC-1155,0x,t,,A,B,7,2,false\n", Options{}, id7},
		"etherscan, export": {"etherscan", "\"Transaction Hash\",\"Blockno\",\"UnixTimestamp\",\"DateTime (UTC)\",\"From\",\"To\",\"TokenValue\",\"USDValueDayOfTx\",\"ContractAddress\",\"TokenName\",\"TokenSymbol\"\n" +
			"\"0x01\",\"7\",\"100\",\"1970-01-01 00:01:40\",\"ZERO\",\"A\",\"5,000\",\"$1\",\"C\",\"Gold\",\"G\"\n", Options{}, []string{c + " " + a + " 100-open x5000"}},
		"etherscan, API": {"etherscan", `{"status":"1","message":"OK","result":[{"blockNumber":"7","timeStamp":"100","hash":"0x01","nonce":"1","blockHash":"0x0","from":"ZERO","contractAddress":"C","to":"A","value":"500","tokenName":"Gold","tokenSymbol":"G","tokenDecimal":"2","transactionIndex":"1","gas":"1","gasPrice":"1","gasUsed":"1","cumulativeGasUsed":"1","input":"deprecated","confirmations":"1"},
			{"blockNumber":"9","timeStamp":"160","hash":"0x02","from":"A","contractAddress":"C","to":"B","value":"200","tokenDecimal":"2"}]}`, Options{}, moved},
		"etherscan, API of ERC-1155": {"etherscan", `{"status":"1","result":[{"blockNumber":"7","timeStamp":"100","hash":"0x01","from":"ZERO","contractAddress":"C","to":"A","tokenID":"7","tokenValue":"5","tokenName":"","tokenSymbol":""},{"blockNumber":"9","timeStamp":"160","hash":"0x02","from":"A","contractAddress":"C","to":"B","tokenID":"7","tokenValue":"2"}]}`, Options{}, id7},
		"dune, tokens.transfers": {"dune", "unique_key,blockchain,block_month,block_date,block_time,block_number,tx_hash,evt_index,trace_address,token_standard,tx_from,tx_to,tx_index,from,to,contract_address,symbol,amount_raw,amount,price_usd,amount_usd\n" +
			"k,ethereum,1970-01-01,1970-01-01,1970-01-01 00:01:40.000 UTC,7,0x01,0,,erc20,A,C,0,ZERO,A,C,G,5,0.5,,\nk,ethereum,1970-01-01,1970-01-01,1970-01-01 00:02:40.000 UTC,9,0x02,1,,bep20,A,C,0,A,B,C,G,2,0.2,,\nk,ethereum,1970-01-01,1970-01-01,1970-01-01 00:02:40.000 UTC,9,0x02,,[],native,A,C,0,A,B,ZERO,ETH,2,0.2,,\n", Options{}, moved},
		"dune, a decoded table": {"dune", "contract_address,evt_tx_hash,evt_index,evt_block_time,evt_block_number,from,to,value\n" +
			"C,0x01,0,1970-01-01 00:01:40.000 UTC,7,ZERO,A,5\nC,0x02,1,1970-01-01 00:02:40.000 UTC,9,A,B,2\n", Options{}, moved},
		"cryo": {"cryo", "block_number,transaction_index,log_index,transaction_hash,erc20,from_address,to_address,value_binary,value_string,value_f64,chain_id\n" +
			"7,0,0,0x01,C,ZERO,A,0x05,5,5.0,1\n9,0,1,0x02,C,A,B,0x02,2,2.0,1\n", Options{Blocks: []string{"blocks"}}, moved},
		"covalent": {"covalent", `{"data":{"address":"A","items":[{"block_signed_at":"1970-01-01T00:01:40Z","tx_hash":"0x01","from_address":"A","to_address":"C","transfers":[{"block_signed_at":"1970-01-01T00:01:40Z","tx_hash":"0x01","from_address":"ZERO","to_address":"A","contract_decimals":1,"contract_address":"C","transfer_type":"IN","delta":"50","balance":null}]},
			{"block_signed_at":"1970-01-01T00:02:40Z","tx_hash":"0x02","transfers":[{"from_address":"A","to_address":"B","contract_decimals":1,"contract_address":"C","transfer_type":"OUT","delta":"20"}]}]},"error":false}`, Options{}, moved},
		"alchemy": {"alchemy", `{"jsonrpc":"2.0","id":1,"result":{"transfers":[{"blockNum":"0x7","uniqueId":"0x01:log:0","hash":"0x01","from":"ZERO","to":"A","value":0.5,"erc721TokenId":null,"erc1155Metadata":null,"tokenId":null,"asset":"G","category":"erc20","rawContract":{"value":"0x32","address":"C","decimal":"0x1"},"metadata":{"blockTimestamp":"1970-01-01T00:01:40.000Z"}},
			{"blockNum":"0x9","uniqueId":"0x02:log:1","hash":"0x02","from":"A","to":"B","value":0.2,"category":"erc20","rawContract":{"value":"0x14","address":"C","decimal":"0x1"},"metadata":{"blockTimestamp":"1970-01-01T00:02:40.000Z"}},
			{"blockNum":"0x9","uniqueId":"0x03:external","hash":"0x03","from":"A","to":"B","value":1,"category":"external","asset":"ETH","rawContract":{"value":"0x1","address":null,"decimal":"0x12"},"metadata":{"blockTimestamp":"1970-01-01T00:02:40.000Z"}}]}}`, Options{}, moved},
		"alchemy, ERC-1155": {"alchemy", `[{"uniqueId":"0x01:log:0","from":"ZERO","to":"A","erc1155Metadata":[{"tokenId":"0x07","value":"0x5"}],"category":"erc1155","rawContract":{"value":null,"address":"C","decimal":null},"metadata":{"blockTimestamp":"1970-01-01T00:01:40.000Z"}},{"uniqueId":"0x02:log:0","from":"A","to":"B","erc1155Metadata":[{"tokenId":"0x7","value":"0x2"}],"category":"erc1155","rawContract":{"value":null,"address":"C"},"metadata":{"blockTimestamp":"1970-01-01T00:02:40.000Z"}}]`, Options{}, id7},
		"moralis": {"moralis", `{"page":0,"page_size":100,"cursor":null,"result":[{"token_name":"Gold","token_symbol":"G","token_decimals":"1","from_address":"ZERO","to_address":"A","address":"C","block_hash":"0x0","block_number":"7","block_timestamp":"1970-01-01T00:01:40.000Z","transaction_hash":"0x01","transaction_index":0,"log_index":0,"value":"50","possible_spam":false,"value_decimal":"5"},
			{"token_decimals":"1","from_address":"A","to_address":"B","address":"C","block_number":"9","block_timestamp":"1970-01-01T00:02:40.000Z","transaction_hash":"0x02","log_index":1,"value":"20"}]}`, Options{}, moved},
		"moralis, NFT": {"moralis", `{"result":[{"block_number":"7","block_timestamp":"1970-01-01T00:01:40.000Z","block_hash":"0x0","transaction_hash":"0x01","transaction_index":0,"log_index":0,"value":"1000","contract_type":"ERC721","transaction_type":"Single","token_address":"C","token_id":"7","from_address":"ZERO","to_address":"A","amount":"1","verified":1,"operator":null},
			{"block_number":"9","block_timestamp":"1970-01-01T00:02:40.000Z","transaction_hash":"0x02","log_index":0,"value":"0","contract_type":"ERC721","token_address":"C","token_id":"7","from_address":"A","to_address":"B","amount":"1"}]}`, Options{}, one},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			text := tt.text
			for word, is := range map[string]string{"ZERO": zero, "A": a, "B": b, "C": c} {
				for _, around := range [][2]string{{`"`, `"`}, {",", ","}, {"\n", ","}} {
					text = strings.ReplaceAll(text, around[0]+word+around[1], around[0]+is+around[1])
					text = strings.ReplaceAll(text, around[0]+word+around[1], around[0]+is+around[1])
				}
			}
			path, blocks := filepath.Join(dir, "file"), filepath.Join(dir, "blocks")
			for name, text := range map[string]string{path: text, blocks: "number,timestamp\n7,100\n9,160\n"} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, preset := range []string{"", Auto, tt.preset} {
				opt := tt.opt
				opt.Preset = preset
				if opt.Blocks != nil {
					opt.Blocks = []string{blocks}
				}
				l, err := New(opt)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for e, err := range l.Events(t.Context(), path) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, say(e))
				}
				same(t, got, tt.want...)
				if sources := l.Summary().Sources; len(sources) != 1 || sources[0].Preset != tt.preset {
					t.Errorf("%+v, want columns of %s", sources, tt.preset)
				}
			}
		})
	}
	for _, name := range PresetNames() {
		if name != Auto && !slices.ContainsFunc(presets, func(p preset) bool { return p.name == name }) {
			t.Errorf("no preset %s", name)
		}
	}
}
